"""The channel's client against a node that the test plays; frames in all ways of being cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_aiinfra.channel import Channel, Piece, Stream, opening
from jupyter_aiinfra.errors import (
    AiInfraError,
    Conflict,
    NotFound,
    PoolError,
    ResultError,
    StorageFull,
    SubmitError,
    Unreachable,
    UsageError,
)
from jupyter_aiinfra.node import frames
from tests.support.nodes import HELLO, PlayedPipe, PlayedShell

# --- frames --------------------------------------------------------------------------------------

FRAMES = st.lists(
    st.tuples(
        st.dictionaries(st.text(min_size=1).filter(lambda key: key != "n"), st.integers()),
        st.binary(max_size=60),
    ),
    max_size=6,
)


@given(sent=FRAMES, cuts=st.lists(st.integers(0, 500), max_size=8))
def test_frames_arrive_whatever_pieces_they_come_in(
    sent: list[tuple[dict[str, int], bytes]], cuts: list[int]
) -> None:
    wire = b"".join(frames.encode(header, len(data)) + data for header, data in sent)
    decoder, got = frames.Decoder(), []
    at = 0
    for cut in [*sorted(cut for cut in cuts if cut < len(wire)), len(wire)]:
        got += list(decoder.feed(wire[at:cut]))
        at = cut
    whole: list[tuple[dict[str, Any], bytes]] = []
    data = b""
    for header, piece, left in got:
        data += piece
        if not left:
            whole.append((header, data))
            data = b""
    assert whole == sent


def test_a_piece_is_there_before_its_frame_is_whole() -> None:
    decoder = frames.Decoder()
    (got,) = decoder.feed(frames.encode({"id": 1}, 10) + b"abc")
    assert got == ({"id": 1}, b"abc", 7)
    assert list(decoder.feed(b"defghij")) == [({"id": 1}, b"defghij", 0)]


def test_what_was_read_into_place_is_passed_on_as_it_is() -> None:
    decoder = frames.Decoder()
    list(decoder.feed(frames.encode({"id": 1}, 10) + b"abc"))
    piece = memoryview(b"defg")
    assert (decoder.left, decoder.passed(piece)) == (7, ({"id": 1}, piece, 3))
    rest = list(decoder.feed(b"hij" + frames.encode({"id": 2})))
    assert rest == [({"id": 1}, b"hij", 0), ({"id": 2}, b"", 0)]


@pytest.mark.parametrize("line", [b"[1]\n", b"word\n", b'{"n": -1}\n', b'{"n": "x"}\n', b"\xff\n"])
def test_what_is_no_frame_is_an_error(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of json, of text, or ours
        list(frames.Decoder().feed(line))


def test_a_line_without_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_LONGEST_LINE", 10)
    with pytest.raises(ValueError, match="without end"):
        list(frames.Decoder().feed(b"x" * 11))


# --- opening -------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[tuple[Channel, PlayedShell, PlayedPipe]]:
    shell = PlayedShell()
    async with Channel(shell, name="n1", **options) as channel:
        hello = asyncio.ensure_future(channel.hello())
        pipe = await shell.next()
        await hello
        yield channel, shell, pipe


async def test_a_channel_opens_when_first_needed_and_once_for_all() -> None:
    shell = PlayedShell()
    channel = Channel(shell)
    assert not channel.is_open
    calls = [asyncio.ensure_future(channel.call("ping")) for _ in range(5)]
    pipe = await shell.next()
    for _ in calls:
        pipe.send({"id": (await pipe.heard("verb"))["id"], "ok": {}})
    await asyncio.gather(*calls)
    assert (shell.count, channel.is_open) == (1, True)
    await channel.aclose()
    await channel.aclose()
    assert pipe.closed
    assert not channel.is_open


async def test_who_is_cancelled_while_it_opens_leaves_the_others_their_channel() -> None:
    shell = PlayedShell()
    channel = Channel(shell)
    first = asyncio.ensure_future(channel.hello())
    pipe = await shell.next(greet=False)
    second = asyncio.ensure_future(channel.hello())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    pipe.greet(banner=b"Welcome!\nyou have mail\n" * 1000)
    assert (await second)["home"] == HELLO["home"]
    assert shell.count == 1
    await channel.aclose()


async def test_closing_while_it_opens_is_unreachable_for_who_waits() -> None:
    shell = PlayedShell()
    channel = Channel(shell, name="n1")
    waiting = asyncio.ensure_future(channel.hello())
    pipe = await shell.next(greet=False)
    await channel.aclose()
    with pytest.raises(Unreachable, match="n1: the channel was closed"):
        await waiting
    assert pipe.closed


async def test_a_node_that_says_nothing_is_unreachable() -> None:
    shell = PlayedShell()
    channel = Channel(shell, name="n1", open_seconds=0.05)
    waiting = asyncio.ensure_future(channel.hello())
    pipe = await shell.next(greet=False)
    pipe.stderr_tail = b"debug\nConnection timed out\n"
    with pytest.raises(Unreachable, match="n1 did not open a channel in time: Connection timed"):
        await waiting
    assert pipe.closed


async def test_the_next_call_tries_again_after_a_refusal() -> None:
    shell = PlayedShell()
    shell.refuse = Unreachable("cannot start ssh: no such file")
    channel = Channel(shell)
    with pytest.raises(Unreachable, match="cannot start ssh"):
        await channel.call("ping")
    shell.refuse = None
    call = asyncio.ensure_future(channel.call("ping"))
    pipe = await shell.next()
    pipe.send({"id": (await pipe.heard("verb"))["id"], "ok": {"n1": 1}})
    assert await call == {"n1": 1}
    await channel.aclose()


@pytest.mark.parametrize(
    ("status", "stderr", "kind", "text"),
    [
        (1, b"x\naiinfra: python 3.6.8 /usr/bin/python3\n", PoolError, "python3 is Python 3.6.8"),
        (127, b"sh: 1: py: not found", PoolError, "there is no program py on the node"),
        (2, b"Unknown option: -I", PoolError, "py is too old, 3.8 is the oldest"),
        (255, b"Connection refused", Unreachable, "py ended with status 255: Connection refused"),
        (0, b"", Unreachable, "no word of why"),
    ],
)
def test_why_there_is_no_channel(
    status: int, stderr: bytes, kind: type[PoolError], text: str
) -> None:
    error = opening.explain("n1", "py", status=status, stderr=stderr)
    assert type(error) is kind
    assert text in error.message


def test_the_far_end_has_no_quotes_and_one_line() -> None:
    words = opening.argv("/usr/bin/python3", "abc")
    assert words[:4] == ["/usr/bin/python3", "-I", "-S", "-c"]
    assert not set("\"'\n!$`\\") & {*"".join(words)}


# --- calls ---------------------------------------------------------------------------------------


async def test_answers_come_in_any_order() -> None:
    async with opened() as (channel, _, pipe):
        calls = [asyncio.ensure_future(channel.call("status", run_dirs=[k])) for k in range(4)]
        asked = [await pipe.heard("verb") for _ in calls]
        for each in reversed(asked):
            pipe.send({"id": each["id"], "ok": {"got": each["args"]["run_dirs"]}})
        assert await asyncio.gather(*calls) == [{"got": [k]} for k in range(4)]


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("conflict", Conflict),
        ("damaged", ResultError),
        ("full", StorageFull),
        ("not_found", NotFound),
        ("pool", PoolError),
        ("submit", SubmitError),
        ("usage", UsageError),
        ("of a newer version", PoolError),
    ],
)
async def test_a_refusal_is_the_right_error(kind: str, error: type[AiInfraError]) -> None:
    async with opened() as (channel, _, pipe):
        call = asyncio.ensure_future(channel.call("get"))
        number = (await pipe.heard("verb"))["id"]
        pipe.send({"id": number, "error": {"kind": kind, "message": "no", "hint": "do"}})
        with pytest.raises(error, match="n1: no") as caught:
            await call
        assert type(caught.value) is error
        assert caught.value.hint == "do"


async def test_a_cancelled_call_is_taken_back_and_its_late_answer_is_ignored() -> None:
    async with opened() as (channel, _, pipe):
        call = asyncio.ensure_future(channel.call("describe"))
        number = (await pipe.heard("verb"))["id"]
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await pipe.heard("cancel"))["id"] == number
        pipe.send({"id": number, "ok": {}})
        other = asyncio.ensure_future(channel.call("ping"))
        pipe.send({"id": (await pipe.heard("verb"))["id"], "ok": {"other": True}})
        assert await other == {"other": True}


async def test_no_answer_in_time_is_unreachable_and_taken_back() -> None:
    async with opened() as (channel, _, pipe):
        with pytest.raises(Unreachable, match=r"n1 did not answer describe within 0\.01 s"):
            await channel.call("describe", timeout=0.01)
        assert (await pipe.heard("cancel"))["id"] == (1)
        assert channel.is_open


async def test_a_broken_channel_is_unreachable_for_all_and_the_next_call_opens_another() -> None:
    async with opened() as (channel, shell, pipe):
        calls = [asyncio.ensure_future(channel.call("ping")) for _ in range(3)]
        for _ in calls:
            await pipe.heard("verb")
        pipe.stderr_tail = b"client_loop: send disconnect: Broken pipe\n"
        pipe.end(255)
        for call in calls:
            with pytest.raises(Unreachable, match="the channel ended: client_loop"):
                await call
        again = asyncio.ensure_future(channel.call("ping"))
        second = await shell.next()
        second.send({"id": (await second.heard("verb"))["id"], "ok": {}})
        await again
        assert pipe.closed


async def test_what_is_no_frame_breaks_the_channel() -> None:
    async with opened() as (channel, _, pipe):
        call = asyncio.ensure_future(channel.call("ping"))
        await pipe.heard("verb")
        pipe.say(b"Killed by the administrator\n")
        with pytest.raises(Unreachable, match="cannot be understood"):
            await call


async def test_closing_from_another_task_ends_what_waits() -> None:
    async with opened() as (channel, _, pipe):
        call = asyncio.ensure_future(channel.call("ping"))
        stream = channel.stream("tail", resume_seconds=0.0)
        reading = asyncio.ensure_future(anext(stream))
        await pipe.heard("verb")
        await asyncio.create_task(channel.aclose())
        for each in (call, reading):
            with pytest.raises(Unreachable, match="the channel was closed"):
                await each


# --- signs of life -------------------------------------------------------------------------------


async def test_a_silent_node_is_cut_off() -> None:
    async with opened(silence_seconds=0.2) as (channel, _, pipe):
        call = asyncio.ensure_future(channel.call("ping"))
        assert "ping" in await pipe.heard("ping")
        with pytest.raises(Unreachable, match="n1 has not been heard of for"):
            await asyncio.wait_for(call, 20)


async def test_a_link_that_takes_nothing_is_cut_off_too() -> None:
    async with opened(silence_seconds=0.2) as (channel, _, pipe):
        pipe.stuck = True
        with pytest.raises(Unreachable, match="n1 has not been heard of for"):
            await channel.call("ping", timeout=20)


async def test_a_node_that_answers_pings_stays() -> None:
    now = 0.0
    async with opened(silence_seconds=0.3, clock=lambda: now) as (channel, _, pipe):
        for _ in range(8):
            number = (await pipe.heard("ping"))["ping"]
            now += 0.25
            pipe.send({"pong": number})
        assert channel.is_open


async def test_time_in_which_we_did_not_listen_is_no_silence() -> None:
    now = 0.0
    async with opened(silence_seconds=0.3, clock=lambda: now) as (channel, _, pipe):
        await pipe.heard("ping")
        now += 3600.0  # a laptop that was closed
        await pipe.heard("ping")
        pipe.send({"pong": 1})
        await pipe.heard("ping")
        assert channel.is_open


# --- streams -------------------------------------------------------------------------------------


async def pieces(stream: Stream) -> list[Piece]:
    return [piece async for piece in stream]


async def test_a_stream_has_a_head_pieces_and_an_end() -> None:
    async with opened() as (channel, _, pipe):
        stream = channel.stream("open_file", path="x", offset=3)
        head = asyncio.ensure_future(stream.head())
        asked = await pipe.heard("verb")
        assert asked["args"] == {"path": "x", "offset": 3}
        number = asked["id"]
        pipe.send({"id": number, "head": {"size_bytes": 7}})
        assert await head == {"size_bytes": 7}
        pipe.send({"id": number, "at": 3}, b"ab")
        pipe.send({"id": number, "at": 5}, b"cd")
        pipe.send({"id": number, "end": {"state": "succeeded"}})
        assert await pieces(stream) == [Piece(3, b"ab"), Piece(5, b"cd")]
        assert stream.end == {"state": "succeeded"}
        assert await pieces(stream) == []


async def test_a_stream_that_has_no_head_says_so() -> None:
    async with opened() as (channel, _, pipe):
        head = asyncio.ensure_future(channel.stream("tail").head())
        pipe.send({"id": (await pipe.heard("verb"))["id"], "end": {}})
        with pytest.raises(PoolError, match="said nothing of tail"):
            await head


async def test_a_refused_stream_gives_what_came_before_the_refusal() -> None:
    async with opened() as (channel, _, pipe):
        stream = channel.stream("get", resume_seconds=60.0)
        reading = asyncio.ensure_future(anext(stream))
        number = (await pipe.heard("verb"))["id"]
        pipe.send({"id": number, "at": 0}, b"ab")
        pipe.send({"id": number, "error": {"kind": "damaged", "message": "shorter"}})
        assert await reading == Piece(0, b"ab")
        with pytest.raises(ResultError, match="shorter"):
            await anext(stream)


async def test_the_window_opens_as_the_reader_takes() -> None:
    async with opened() as (channel, _, pipe):
        stream = channel.stream("tail", window=100)
        reading = asyncio.ensure_future(anext(stream))
        asked = await pipe.heard("verb")
        assert asked["window"] == 100
        for at in range(0, 100, 10):
            pipe.send({"id": asked["id"], "at": at}, b"x" * 10)
        assert await reading == Piece(0, b"x" * 10)
        for _ in range(2):
            await anext(stream)
        assert (await pipe.heard("more"))["more"] == 30


async def test_a_stream_goes_on_at_the_byte_after_a_cut_frame() -> None:
    async with opened() as (channel, shell, pipe):
        stream = channel.stream("tail", stream="rank-0.log", resume_seconds=60.0)
        reading = asyncio.ensure_future(anext(stream))
        asked = await pipe.heard("verb")
        pipe.say(frames.encode({"id": asked["id"], "at": 0}, 100) + b"abc")
        pipe.end()
        assert await reading == Piece(0, b"abc")
        reading = asyncio.ensure_future(anext(stream))
        second = await shell.next()
        asked = await second.heard("verb")
        assert asked["args"] == {"stream": "rank-0.log", "offset": 3}
        second.send({"id": asked["id"], "at": 3}, b"def")
        assert await reading == Piece(3, b"def")
        assert stream.offset == 6
        await stream.aclose()
        assert (await second.heard("cancel"))["id"] == asked["id"]


async def test_a_stream_gives_up_after_the_time_it_was_given() -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 10.0
        return now

    async with opened(clock=clock) as (channel, shell, pipe):
        stream = channel.stream("tail", resume_seconds=15.0)
        reading = asyncio.ensure_future(anext(stream))
        await pipe.heard("verb")
        shell.refuse = Unreachable("no route to host")
        pipe.end()
        with pytest.raises(Unreachable, match="the channel ended"):
            await reading


async def test_a_stream_without_resuming_breaks_with_its_channel() -> None:
    async with opened() as (channel, shell, pipe):
        reading = asyncio.ensure_future(anext(channel.stream("tail")))
        await pipe.heard("verb")
        pipe.end()
        with pytest.raises(Unreachable, match="the channel ended"):
            await reading
        assert shell.count == 1


async def test_a_closed_stream_ends_for_its_reader_too() -> None:
    async with opened() as (channel, _, pipe), channel.stream("tail") as stream:
        reading = asyncio.ensure_future(pieces(stream))
        number = (await pipe.heard("verb"))["id"]
        await stream.aclose()
        assert await reading == []
        assert (await pipe.heard("cancel"))["id"] == number
        with pytest.raises(Unreachable, match="the stream of tail was closed"):
            await stream.head()
