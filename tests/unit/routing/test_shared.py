"""Many requests under way on one connection: each gets its own answer, whatever becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from jupyter_aiinfra.routing import back, shared
from jupyter_aiinfra.routing.back import Back, Line
from jupyter_aiinfra.routing.seen import Answered, Seen
from jupyter_aiinfra.routing.shared import Pool, Shared
from jupyter_aiinfra.routing.wire import EARLY_BYTES, Request

DECLARED = b"content-type: text/plain\r\nx-endpoint-pipeline: 8;workers=1\r\n"


class Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.protocol: asyncio.Protocol | None = None
        self.closing = self.aborted = False

    def write(self, data: bytes) -> None:
        assert not self.closing
        self.writes.append(data)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol


class Errand:
    """Remembers what it is told."""

    def __init__(self, name: str) -> None:
        self.request = Request(b"POST", b"/" + name.encode(), length=0)
        self.request.complete = True
        self.heard: list[object] = []
        self.body = b""

    def told(self, line: Line, head: Answered, body: bytes, *, reusable: bool) -> None:
        self.heard.append((head.status, body, reusable))

    def head(self, status: int, lines: bytes, length: int | None) -> None:
        self.heard.append((status, length))

    def part(self, data: bytes) -> None:
        self.body += data

    def flush(self) -> None:
        return

    def ended(self, line: Back, *, reusable: bool) -> None:
        self.heard.append(("ended", reusable))

    def lost(self, line: Line, reason: str) -> None:
        self.heard.append(("lost", line.blames))
        line.blames = False

    def slow(self, *, paused: bool) -> None:
        self.heard.append(("slow", paused))

    def moved(self, line: Back) -> None:
        self.heard.append("moved")

    def again(self) -> None:
        self.heard.append("again")


class Place:
    def dropped(self, line: Back) -> None:
        return


@pytest.fixture(autouse=True)
def _nothing_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    heads: Seen[Answered] = Seen()
    for module in (back, shared):
        monkeypatch.setattr(module, "seen", heads)


class Lines:
    """A pool whose connections are made at once, to nowhere."""

    def __init__(self, declared: bytes = DECLARED) -> None:
        self.transports: list[Transport] = []
        self.made: list[Shared] = []
        self.pool = Pool(self._connect, Place())
        self.pool.seconds = 0
        self.pool.declared(declared)

    async def _connect(self, made: Callable[[], Any]) -> Any:
        one, transport = made(), Transport()
        one.connection_made(cast("asyncio.BaseTransport", cast("Any", transport)))
        self.transports.append(transport)
        self.made.append(one)
        return one

    async def line(self) -> tuple[Shared, Transport]:
        assert self.pool.take() is None
        await turn()
        one = self.pool.take()
        assert one is not None
        return one, self.transports[-1]


async def turn() -> None:
    """Let what is due in the loop happen, and what that makes due."""
    for _ in range(3):
        await asyncio.sleep(0)


async def asked(lines: Lines, *names: str) -> tuple[Shared, Transport, list[Errand]]:
    line, transport = await lines.line()
    errands = [Errand(name) for name in names]
    for errand in errands:
        line.send(errand)
    await turn()
    return line, transport, errands


def answer(body: bytes, *, status: int = 200, lines: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\n%bcontent-length: %d\r\n\r\n%b" % (status, lines, len(body), body)


async def test_what_is_asked_in_one_turn_is_one_write() -> None:
    line, transport, _ = await asked(Lines(), "a", "b", "c")
    (data,) = transport.writes
    assert [part.split(b" ")[0] for part in data.split(b"POST ")[1:]] == [b"/a", b"/b", b"/c"]
    assert line.under_way == 3


async def test_much_that_is_asked_in_one_turn_is_sent_in_parts() -> None:
    paths = [f"/{number}".encode() for number in range(20)]
    line, transport, _ = await asked(Lines(), *(path.decode()[1:] for path in paths))
    sent = [[part.split(b" ")[0] for part in data.split(b"POST ")[1:]] for data in transport.writes]
    assert sent == [paths[:8], paths[8:16], paths[16:]]
    assert line.under_way == 20


ANSWERS = answer(b"one") + answer(b"", status=429) + answer(b"three\r\n\r\n", lines=b"x: 1\r\n")


@pytest.mark.parametrize("size", [1, 2, 7, 40, len(ANSWERS) - 1, len(ANSWERS)])
async def test_answers_in_order_in_any_pieces(size: int) -> None:
    line, transport, errands = await asked(Lines(), "a", "b", "c")
    for begin in range(0, len(ANSWERS), size):
        line.data_received(ANSWERS[begin : begin + size])
    told = [errand.heard for errand in errands]
    assert told == [[(200, b"one", False)], [(429, b"", False)], [(200, b"three\r\n\r\n", False)]]
    assert (line.under_way, line.takes, transport.closing) == (0, True, False)


async def test_who_has_gone_is_told_nothing_and_nobody_else_gets_it() -> None:
    line, transport, (one, two, three) = await asked(Lines(), "a", "b", "c")
    line.abandon(two)
    line.data_received(answer(b"one") + answer(b"two") + answer(b"three"))
    assert (one.heard, two.heard) == ([(200, b"one", False)], [])
    assert three.heard == [(200, b"three", False)]
    assert not transport.closing


async def test_a_replica_sees_that_nobody_is_left() -> None:
    lines = Lines()
    line, transport, errands = await asked(lines, "a", "b")
    line.abandon(errands[1])
    assert not transport.aborted
    line.abandon(errands[0])
    assert transport.aborted
    assert lines.pool.take() is not line


async def test_nothing_is_asked_behind_what_is_late() -> None:
    lines = Lines()
    line, transport, (one, two) = await asked(lines, "a", "b")
    line.abandon(one, late=True)
    assert not line.takes
    assert lines.pool.take() is None
    assert not transport.closing
    line.data_received(answer(b"one") + answer(b"two"))
    assert (one.heard, two.heard) == ([], [(200, b"two", False)])
    assert (transport.closing, transport.aborted) == (True, False)


async def test_a_connection_that_is_lost_is_held_against_the_replica_once() -> None:
    lines = Lines()
    line, _, (one, two, three, four) = await asked(lines, "a", "b", "c", "d")
    line.abandon(three)
    line.data_received(answer(b"one") + answer(b"two")[:-1])
    line.connection_lost(None)
    assert one.heard == [(200, b"one", False)]
    assert [each.heard for each in (two, three, four)] == [[("lost", True)], [], [("lost", False)]]
    assert lines.pool.take() is None


async def test_what_is_asked_of_a_connection_that_just_ended_is_not_written() -> None:
    lines = Lines()
    line, transport = await lines.line()
    one = Errand("a")
    line.send(one)
    transport.abort()
    line.connection_lost(ConnectionResetError("reset"))
    await turn()
    assert (transport.writes, one.heard) == ([], [("lost", True)])


LARGE = b"x" * (EARLY_BYTES + 1)
ODD = {
    "closes": answer(b"one", lines=b"connection: close\r\n"),
    "large": answer(LARGE),
    "chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("kind", ODD)
async def test_an_answer_of_another_kind_has_the_connection_for_itself(kind: str) -> None:
    lines = Lines()
    line, transport, (one, two, three) = await asked(lines, "a", "b", "c")
    line.abandon(two)
    # What may follow is no part of it.
    for piece in (ODD[kind][:30], ODD[kind][30:] + answer(b"two")):
        (transport.protocol or line).data_received(piece)
    assert one.heard[0] == "moved"
    assert one.heard[-1] == ("ended", False)
    assert one.body == (LARGE if kind == "large" else b"one")
    assert (two.heard, three.heard) == ([], ["again"])
    assert transport.closing
    # Nothing is shared for a while.
    assert lines.pool.take() is None
    await turn()
    assert lines.pool.take() is None


async def test_an_odd_answer_with_nobody_behind_keeps_the_connection() -> None:
    _, transport, (one,) = await asked(lines := Lines(), "a")
    (line,) = lines.made
    line.data_received(ODD["chunks"])
    assert one.heard == ["moved", (200, None), ("ended", True)]
    assert not transport.closing


async def test_an_odd_answer_that_nobody_waits_for_ends_it() -> None:
    line, transport, (one, two) = await asked(Lines(), "a", "b")
    line.abandon(one)
    line.data_received(ODD["large"])
    assert (one.heard, two.heard, transport.aborted) == ([], ["again"], True)


@pytest.mark.parametrize(
    "data",
    [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", b"x" * 70_000],
    ids=["nonsense", "length", "endless"],
)
async def test_what_is_no_answer_fails_whose_turn_it_was(data: bytes) -> None:
    line, transport, (one, two) = await asked(Lines(), "a", "b")
    line.data_received(data)
    assert one.heard == ["moved", ("lost", True)]
    assert (two.heard, transport.aborted) == (["again"], True)


async def test_more_answers_than_questions() -> None:
    lines = Lines()
    line, transport, (one,) = await asked(lines, "a")
    line.data_received(answer(b"one") + answer(b"whose?"))
    assert one.heard == [(200, b"one", False)]
    assert transport.aborted
    assert lines.pool.take() is None


# --- which connections -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "depth"),
    [
        (b"x-endpoint-pipeline: 8\r\n", 8),
        (b"a: b\r\nx-endpoint-pipeline: 999;workers=2\r\n", 32),
        (b"", 0),
        (b"x-endpoint-pipeline: many\r\n", 0),
        (b"x-other: x-endpoint-pipeline: 8\r\n", 0),
    ],
    ids=["told", "too many", "not told", "no number", "another"],
)
async def test_as_many_as_the_replica_says(told: bytes, depth: int) -> None:
    assert Lines(told).pool.depth == depth


@pytest.mark.parametrize("why", ["not declared", "one", "slow", "unknown"])
async def test_when_nothing_is_shared(why: str) -> None:
    lines = Lines()
    if why == "slow":
        for _ in range(20):
            lines.pool.took(1.0)
    elif why == "unknown":
        lines.pool.seconds = shared._UNKNOWN_SECONDS
    else:
        lines.pool.declared(b"x-endpoint-pipeline: 1\r\n" if why == "one" else b"")
    assert lines.pool.take() is None
    await turn()
    assert (lines.pool.take(), lines.made) == (None, [])


async def test_a_full_connection_is_followed_by_another() -> None:
    lines = Lines()
    line, _, errands = await asked(lines, *"abcdefgh")
    assert lines.pool.take() is None
    await turn()
    other = lines.pool.take()
    assert other is lines.made[1]
    line.data_received(answer(b"") * 5)
    # It goes on with the one it fills.
    assert lines.pool.take() is other
    assert [len(each.heard) for each in errands] == [1] * 5 + [0] * 3
    for name in "ijklmnop":
        other.send(Errand(name))
    assert lines.pool.take() is line


async def test_several_workers_have_each_their_part() -> None:
    lines = Lines(b"x-endpoint-pipeline: 8;workers=2\r\n")
    for number in range(shared._A_WORKER * 2):
        assert lines.pool.take() is None
        await turn()
        one = lines.pool.take()
        assert one is lines.made[number]
        one.send(Errand("a"))
    for _ in range(len(lines.made)):
        one = lines.pool.take()
        assert one is not None
        one.send(Errand("a"))
    assert [one.under_way for one in lines.made] == [2] * len(lines.made)


async def test_a_replica_that_does_not_read_is_asked_nothing_more() -> None:
    lines = Lines()
    line, _ = await lines.line()
    line.pause_writing()
    assert lines.pool.take() is None
    line.resume_writing()
    assert lines.pool.take() is line


async def test_what_is_idle_is_closed() -> None:
    lines = Lines()
    line, transport, _ = await asked(lines, "a")
    lines.pool.sweep(line.idle_since + 1000)
    assert not transport.closing
    line.data_received(answer(b""))
    lines.pool.sweep(line.idle_since + 1)
    assert not transport.closing
    lines.pool.sweep(line.idle_since + 1000)
    assert transport.closing
    assert lines.pool.take() is None


async def test_what_is_under_way_ends_well_when_its_replica_leaves() -> None:
    lines = Lines()
    line, transport, (one,) = await asked(lines, "a")
    lines.pool.shut()
    assert (lines.pool.take(), transport.closing) == (None, False)
    line.data_received(answer(b"one"))
    assert (one.heard, transport.closing) == ([(200, b"one", False)], True)


@pytest.mark.parametrize("fails", [True, False], ids=["refused", "late"])
async def test_a_connection_that_cannot_be_made_or_comes_too_late(*, fails: bool) -> None:
    waiting = asyncio.Event()
    there = Lines()

    async def connect(made: Callable[[], Any]) -> Any:
        await waiting.wait()
        if fails:
            raise ConnectionRefusedError
        return await there._connect(made)

    pool = Pool(connect, Place())
    pool.seconds = 0
    pool.declared(DECLARED)
    assert pool.take() is None
    pool.shut()
    waiting.set()
    await turn()
    assert [transport.closing for transport in there.transports] == ([] if fails else [True])
    # The next one is tried when it is wanted, and given up with the replica.
    waiting.clear()
    pool.declared(DECLARED)
    assert pool.take() is None
    await turn()
    await pool.close()
    waiting.set()
    await turn()
    assert len(there.made) == (0 if fails else 1)
