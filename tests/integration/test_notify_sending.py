"""Messages through Apprise to a webhook and a mail server of this machine, and of a run's end."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from jupyter_aiinfra.promote.notify import Message, NotDelivered, Target, deliver, read_target
from tests.support.hooks import Hook, listening


@pytest.fixture
def hook() -> Iterator[Hook]:
    with listening() as made:
        yield made


@dataclass
class Mailbox:
    """A mail server on this machine that takes everything: the lines it was told."""

    port: int = 0
    lines: list[str] = field(default_factory=list)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    made = Mailbox()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 here")
            while line := self.rfile.readline().decode().rstrip("\r\n"):
                made.lines.append(line)
                if line.upper() == "DATA":
                    self.say("354 go on")
                    self.take()
                self.say("221 bye" if line.upper() == "QUIT" else "250 fine")
                if line.upper() == "QUIT":
                    return

        def take(self) -> None:
            while (line := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                made.lines.append(line)

        def say(self, line: str) -> None:
            self.wfile.write(line.encode() + b"\r\n")

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_is_sent_title_and_text(hook: Hook) -> None:
    url = f"json://127.0.0.1:{hook.port}/s3cretpath"
    deliver(Target(name="hook", url=url, secrets=(url,)), Message(title="down", body="at once"))
    (got,) = hook.got
    assert (got["title"], got["message"], got["type"]) == ("down", "at once", "info")


def test_why_it_was_not_taken_is_said_without_the_url(hook: Hook) -> None:
    hook.status = 503
    url = f"json://127.0.0.1:{hook.port}/s3cretpath"
    target = Target(name="hook", url=url, secrets=("s3cretpath",))
    with pytest.raises(NotDelivered, match=r"'hook' did not take it: .*503") as refused:
        deliver(target, Message(title="down", body="at once"))
    assert "s3cretpath" not in refused.value.message
    with pytest.raises(NotDelivered, match="none that Apprise knows"):
        deliver(replace(target, url="nowhere://x"), Message(title="", body="x"))


def test_a_mail_is_sent(mailbox: Mailbox) -> None:
    url = f"mailto://127.0.0.1:{mailbox.port}?from=reports@example.org&to={{WHO}}&mode=insecure"
    target = read_target("ops", {"ops": url}, {"WHO": "ops@example.org"})

    deliver(target, Message(title="report: failed", body="cell 4 raised ValueError", bad=True))

    said = "\n".join(mailbox.lines)
    assert "rcpt to:<ops@example.org>" in said.lower()
    assert "Subject: report: failed" in said
    assert "cell 4 raised ValueError" in said


def test_a_mail_server_that_is_not_there_is_said(mailbox: Mailbox) -> None:
    url = "mailto://me:hunter2@127.0.0.1:1?from=a@example.org&to=b@example.org&mode=insecure"
    with pytest.raises(NotDelivered, match="'ops' did not take it: ") as refused:
        deliver(Target(name="ops", url=url, secrets=("hunter2",)), Message(title="a", body="b"))
    assert "hunter2" not in refused.value.message
