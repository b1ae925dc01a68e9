"""One request of a client on its way through a replica, from its head to the end of its answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jupyter_aiinfra.routing.back import Back, Line
from jupyter_aiinfra.routing.faults import (
    Fault,
    NoReplica,
    ReplicaFailed,
    TooLarge,
    TooLate,
    TooSlow,
)
from jupyter_aiinfra.routing.seen import Answered, Asked
from jupyter_aiinfra.routing.target import Target
from jupyter_aiinfra.routing.wire import (
    EARLY_BYTES,
    KEPT_BYTES,
    Fields,
    Reply,
    Request,
    framed,
    reply_of,
    status_line,
)

if TYPE_CHECKING:
    from jupyter_aiinfra.routing.endpoint import Served
    from jupyter_aiinfra.routing.front import Front
    from jupyter_aiinfra.routing.tracing import Span

__all__ = ["Relay"]

# How often a request may be lost with the replica that had it.
_MOST_LOST = 2
_STALL_SECONDS = 60.0

# What a request is said to be answered with whose client does not wait.
_GONE = 499

_READING, _HELD, _ASKED, _ANSWERING, _DONE = range(5)


class Relay:
    """One request.

    Parameters
    ----------
    fields
        All of its header.
    persistent
        Whether the client may ask more on its connection.
    known
        What is known of its head from requests before.
    """

    __slots__ = (
        "_gathers",
        "_held_until",
        "_line",
        "_lost",
        "_out",
        "_since",
        "_stage",
        "_until",
        "answer",
        "answer_lines",
        "back",
        "begun",
        "chunked_answer",
        "counted",
        "endpoint",
        "extra",
        "fields",
        "front",
        "headers",
        "in_answer",
        "key",
        "known",
        "limit_bytes",
        "method",
        "mirror",
        "path",
        "persistent",
        "pinned",
        "replica",
        "reply",
        "request",
        "sampled",
        "shares",
        "span",
        "status",
        "target",
        "tried",
        "version",
    )

    def __init__(
        self,
        front: Front,
        method: bytes,
        target: bytes,
        fields: Fields,
        *,
        persistent: bool,
        known: Asked | None = None,
    ) -> None:
        self.front = front
        self.method = method
        self.fields = fields
        self.known = known
        self.headers = dict(fields) if known is None else known.headers
        self.path = target
        self.persistent = persistent
        length = self.headers.get(b"content-length", b"0")
        chunks = known is None and b"transfer-encoding" in self.headers
        self.request = Request(method, target, length=None if chunks else int(length))
        self.endpoint: Served | None = None
        # What the router answers instead of a replica.
        self.reply: Reply | None = None
        self.limit_bytes = EARLY_BYTES
        # Not one of health or documentation, which say nothing of the model.
        self.counted = True
        # Of the caller's key, and of the replica that was asked: for samples.
        self.key: str | None = None
        self.replica = ""
        self.version: str | None = None
        # By a header: nobody else will do.
        self.pinned = False
        self.target: Target | None = None
        self.back: Line | None = None
        # Whether it may be one of many under way on a connection to its replica.
        self.shares = False
        self.tried: set[str] = set()
        self.extra = b""
        self.status = 0
        self.in_answer = False
        self.chunked_answer = False
        # The answer's body, where somebody wants it afterwards.
        self.answer: bytearray | None = None
        self.answer_lines = b""
        self.sampled = False
        self.span: Span | None = None
        # The version that is asked the same afterwards.
        self.mirror: str | None = None
        self._out: list[bytes] = []
        self._line = b""
        self._gathers = False
        self._lost = 0
        self._stage = _READING
        self.begun = self._since = time.monotonic()
        self._until = float("inf")
        self._held_until: float | None = None

    # --- from the client ---------------------------------------------------------------------

    def refuse(self, fault: Fault) -> None:
        """Have the router answer."""
        if self.endpoint is not None:
            self.endpoint.refused += 1
        self.answered_by(reply_of(fault))

    def answered_by(self, reply: Reply) -> None:
        """Have `reply` answer it: now, if no answer has begun."""
        if self._stage == _ANSWERING:
            self.front.broken(self)
            return
        if self.span is not None:
            self.span.end(self, reply.status)
        self.abandon()
        self.reply = reply
        self.front.replied(self)

    def body(self, data: bytes) -> None:
        """Take a part of its body."""
        if self.reply is not None:
            self.request.size += len(data)
            return
        request = self.request
        request.add(data)
        if request.size > self.limit_bytes:
            self.refuse(TooLarge(f"the body is larger than {self.limit_bytes:,} bytes"))
        elif self.back is not None:
            self.back.more(framed(data) if request.length is None else data)
            request.forget()
        elif request.size > EARLY_BYTES and self._stage == _READING:
            self.dispatch()

    def whole(self) -> None:
        """Note that all of it is here; called when it is the turn of this request."""
        request = self.request
        if self.back is not None:
            if request.length is None:
                self.back.more(b"0\r\n\r\n")
            self._since = time.monotonic()
        elif self._stage == _READING:
            self.dispatch()

    def dispatch(self) -> None:
        """Have the endpoint find somebody to ask."""
        if self.endpoint is not None:
            self._stage = _ASKED
            self.endpoint.place(self)

    # --- with a replica ----------------------------------------------------------------------

    def hold(self, seconds: float) -> None:
        """Wait until somebody is there to ask."""
        self._stage = _HELD
        if self._held_until is None:
            self._held_until = time.monotonic() + seconds
        if not self.request.complete and self.request.size > EARLY_BYTES:
            self.front.wait(self, paused=True)

    def assign(self, version: str, target: Target, line: bytes) -> None:
        """Ask `target`; `line` says in the answer whose it is."""
        self._stage = _ASKED
        self.version = version
        self._line = line
        self.target = target
        self.replica = target.id
        self._since = time.monotonic()
        target.in_flight += 1
        # Kept connections of a process that died end one after the other: who has lost an answer to
        # one of them would lose it to the next.
        if self._lost:
            target.dial(self)
            return
        if self.shares and (shared := target.shared.take()) is not None:
            self.back = shared
            shared.send(self)
            return
        back = target.take()
        if back is None:
            target.dial(self)
        else:
            self.connected(back)

    def connected(self, back: Back) -> None:
        """Send it."""
        self.back = back
        back.send(self)
        self.request.forget()
        if not self.request.complete:
            self.front.wait(self, paused=False)

    def refused(self, error: OSError) -> None:
        """Look for another replica: this one has not even taken a connection."""
        target = self._let_go()
        target.refused(error)
        if self.endpoint is not None:
            self.tried.add(target.id)
            self.endpoint.place(self)

    def moved(self, back: Back) -> None:
        """Take that the connection is all its own from now on."""
        self.back = back

    def again(self) -> None:
        """Ask once more, by a connection of its own: nobody has failed."""
        self._let_go()
        self._lost += 1
        if self.endpoint is not None:
            self.endpoint.place(self)

    @property
    def last(self) -> bool:
        """Whether it fails when it is lost once more."""
        return self._lost >= _MOST_LOST

    def lost(self, line: Line, reason: str) -> None:
        """Ask another replica, where that changes nothing; else say that it failed."""
        target = self._let_go()
        if line.blames:
            line.blames = False
            target.failed(reason)
        self._lost += 1
        endpoint = self.endpoint
        again = (
            endpoint is not None
            and not self.in_answer
            and self.request.parts is not None
            and self._lost <= _MOST_LOST
            and endpoint.may_repeat(self)
        )
        if endpoint is not None and again:
            self.tried.add(target.id)
            endpoint.dropped(self, target)
            endpoint.place(self)
            return
        self._failed(ReplicaFailed(f"the replica went before it had answered: {reason}"), target)

    def _failed(self, fault: Fault, target: Target) -> None:
        if self.counted and self.endpoint is not None:
            if self.in_answer:
                self.endpoint.cut(self, target)
            else:
                seconds = time.monotonic() - self._since
                self.endpoint.answered(self, target, fault.status, seconds)
            if self.sampled:
                self.endpoint.missed(self, fault.status)
        self.answered_by(reply_of(fault))

    def _let_go(self) -> Target:
        target, self.target = self.target, None
        self.back = None
        if target is None:
            raise AssertionError("nobody was asked")
        target.in_flight -= 1
        if not self.in_answer:
            self._out.clear()
            if self.answer is not None:
                self.answer = bytearray()
        return target

    # --- its answer --------------------------------------------------------------------------

    def told(self, line: Line, head: Answered, body: bytes, *, reusable: bool) -> None:
        """Take a whole answer at once."""
        target, endpoint, front = self.target, self.endpoint, self.front
        if target is None or endpoint is None:
            raise AssertionError("nobody was asked")
        self.status = head.status
        if self.answer is not None:
            self.answer_lines = head.lines
            self.part_of_answer(body)
        self.in_answer = True
        self._stage = _ANSWERING
        self.target = self.back = None
        target.in_flight -= 1
        seconds = time.monotonic() - self._since
        target.worked(seconds)
        if self.counted:
            endpoint.answered(self, target, head.status, seconds)
        self.persistent = keeps = front.keeps(self)
        start = head.start(self._line + self.extra if self.extra else self._line, keeps=keeps)
        front.write(start + body)
        if reusable and isinstance(line, Back):
            target.give(line)
        if self.sampled or self.answer is not None:
            endpoint.afterwards(self)
        self._stage = _DONE
        if self.span is not None:
            self.span.end(self, head.status)
        front.finished(self)

    def head(self, status: int, lines: bytes, length: int | None) -> None:
        """Take the head of the answer."""
        self.status = status
        self._until = float("inf")
        # A small answer is handed on when all of it is there: one that is lost was never begun.
        self._gathers = length is not None and length <= EARLY_BYTES
        if not self._gathers:
            self._answered()
        if self.answer is not None:
            self.answer_lines = lines
        if length is not None:
            framing = b"content-length: %d\r\n" % length
            self._until = time.monotonic() + _STALL_SECONDS
        elif self.method == b"HEAD" or status in {204, 304}:
            framing = b""
        elif self.front.chunks:
            framing = b"transfer-encoding: chunked\r\n"
            self.chunked_answer = True
        else:
            framing = b""
            self.persistent = False
        # What was told holds, also if the rest of the request comes in time.
        self.persistent = self.front.keeps(self)
        ending = b"\r\n" if self.persistent else b"connection: close\r\n\r\n"
        self._out += (status_line(status), lines, framing, self._line, self.extra, ending)

    def _answered(self) -> None:
        """Begin to answer the client: from here on there is no other answer."""
        self.in_answer = True
        self._stage = _ANSWERING
        target, endpoint = self.target, self.endpoint
        if target is not None and endpoint is not None and self.counted:
            endpoint.answered(self, target, self.status, time.monotonic() - self._since)

    def part(self, data: bytes) -> None:
        """Take a part of its body."""
        if self.answer is not None:
            self.part_of_answer(data)
        self._out.append(framed(data) if self.chunked_answer else data)

    def part_of_answer(self, data: bytes) -> None:
        """Keep a part for afterwards, within bounds."""
        if self.answer is None or len(self.answer) + len(data) > KEPT_BYTES:
            self.answer = None
        else:
            self.answer += data

    def flush(self) -> None:
        """Hand to the client what came at once."""
        if self._out and not self._gathers:
            self.front.write(b"".join(self._out))
            self._out.clear()
            if self._until < float("inf"):
                self._until = time.monotonic() + _STALL_SECONDS

    def ended(self, back: Back, *, reusable: bool) -> None:
        """Finish the answer."""
        if self._gathers:
            self._gathers = False
            self._answered()
            self.flush()
        target = self._let_go()
        target.worked(time.monotonic() - self._since)
        if reusable:
            if self.front.choked:
                back.hold(on=False)
            target.give(back)
        if self.chunked_answer:
            self.front.write(b"0\r\n\r\n")
        if self.endpoint is not None and (self.sampled or self.answer is not None):
            self.endpoint.afterwards(self)
        self._stage = _DONE
        if self.span is not None:
            self.span.end(self, self.status)
        self.front.finished(self)

    def slow(self, *, paused: bool) -> None:
        """Have the client wait while the replica does not take more."""
        self.front.wait(self, paused=paused)

    # --- time and ends -----------------------------------------------------------------------

    def check(self, now: float, body_seconds: float, answer_seconds: float) -> None:
        """Give up what takes too long."""
        if self.reply is not None:
            return
        if self._stage == _HELD:
            if self._held_until is not None and now > self._held_until:
                self.refuse(NoReplica("no replica is ready", retry_after_seconds=5))
        elif not self.request.complete and self._stage != _ANSWERING:
            if now - self.begun > body_seconds:
                self.refuse(TooSlow(f"the body did not arrive within {body_seconds:g} s"))
        elif self._stage == _ASKED and now - self._since > answer_seconds:
            target = self.target
            self.abandon(late=True)
            fault = TooLate(f"no answer within {answer_seconds:g} s")
            if target is None:
                self.refuse(fault)
            else:
                target.failed(str(fault))
                self._failed(fault, target)
        elif self._stage == _ANSWERING and now > self._until and not self.front.choked:
            self.abandon()
            self.front.broken(self)

    def abandon(self, *, late: bool = False) -> None:
        """Do without an answer: the client is gone, or was told something else.

        May be called at any time, and twice.

        Parameters
        ----------
        late
            The replica has not answered in time.
        """
        if self.span is not None:
            self.span.end(self, _GONE)
        if self.endpoint is not None:
            self.endpoint.waiting.pop(self, None)
        back = self.back
        if self.target is not None:
            self._let_go()
        if back is not None:
            back.abandon(self, late=late)
