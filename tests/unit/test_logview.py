"""What many ranks' logs look like, and that every line of them is accounted for."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_aiinfra.logview import (
    LogView,
    RankLog,
    Redactor,
    ansi_html,
    log_text,
    spans,
    strip_ansi,
)
from jupyter_aiinfra.model import LAUNCHER


def shown(*chunks: str | bytes, tail: int = 200, head: int = 20, width: int = 2000) -> RankLog:
    view = LogView(tail_lines=tail, head_lines=head, width=width)
    offset = 0
    for chunk in chunks:
        data = chunk.encode() if isinstance(chunk, str) else chunk
        view.feed(0, offset, data)
        view.snapshot()
        offset += len(data)
    log = view.snapshot().rank(0)
    assert log.lines_seen == log.lines_shown + log.lines_folded + log.lines_left_out
    return log


def texts(log: RankLog) -> list[str]:
    return [strip_ansi(line.text) for line in (*log.head, *log.tail)]


# --- a terminal -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("one\ntwo\n", ["one", "two"]),
        ("one\ntwo", ["one", "two"]),
        ("crlf\r\nlines\r\n", ["crlf", "lines"]),
        (" 10%|# |\r 20%|##|\r100%|##| done\n", ["100%|##| done"]),
        ("a longer line\rshort", ["shortger line"]),
        ("a longer line\r\x1b[Kshort", ["short"]),
        ("abc\b\bX\n", ["aXc"]),
        ("\b\b\bstart", ["start"]),
        ("a\tb", ["a       b"]),
        ("outer\ninner 1\x1b[A\rOUTER\ninner 2\x1b[A\n", ["OUTER", "inner 2"]),
        ("one\ntwo\n\x1b[2Jthree\n", ["one", "two", "three"]),
        ("\x1b]0;a title\x07text\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n", ["textlink"]),
        ("\x1b]0;never ended\nnext\n", ["", "next"]),
        ("\x1b[?25lhidden cursor\x1b[?25h\n", ["hidden cursor"]),
        ("1\n2\n3\n\x1b[2A\x1b[0Jx\n", ["1", "x"]),
        ("bell\x07 nul\x00 del\x7f\n", ["bell nul del"]),
        ("12345\x1b[3D\x1b[Cx\x1b[Gy\n", ["y23x5"]),
        ("12345\x1b[1K|\n", ["     |"]),
        ("a\x1b[99999999999999C\x1b[99999Db\n", ["b"]),
    ],
)
def test_output_looks_as_in_a_terminal(output: str, expected: list[str]) -> None:
    whole = shown(output)
    assert texts(whole)[: len(expected)] == expected
    assert not any(texts(whole)[len(expected) :])


@pytest.mark.parametrize(
    "output",
    [
        "née ✓ 日本 🎉\n".encode(),
        b"\x1b[31mred\x1b[0m \x1b[38;5;208morange\x1b[m\nplain\r\x1b[2Knew\n",
        "outer\n█ inner 1\x1b[A\rOUTER\n█ inner 2\x1b[A\n".encode(),
        b"bad \xff\xfe bytes \xe2\x96\n next",
    ],
)
def test_chunks_may_be_cut_anywhere(output: bytes) -> None:
    whole = shown(output)
    for cut in range(1, len(output)):
        assert shown(output[:cut], output[cut:]) == whole
    assert shown(*(bytes([byte]) for byte in output)) == whole


def test_invalid_utf8_is_replaced() -> None:
    assert texts(shown(b"bad \xff here\n")) == ["bad � here"]


def test_nested_progress_bars_keep_their_lines_and_count_no_line_twice() -> None:
    view = LogView()
    offset = 0
    for step in range(3000):
        data = f"\r{step // 100} outer\n\r{step} inner\x1b[A".encode()
        view.feed(0, offset, data)
        offset += len(data)
    log = view.snapshot().rank(0)
    assert texts(log) == ["29 outer", "2999 inner"]
    assert (log.lines_seen, log.lines_shown, log.lines_folded) == (3001, 2, 2999)


def test_colours_are_kept_and_carry_over_lines_as_on_a_terminal() -> None:
    log = shown("\x1b[1;31mred\nstill\x1b[22m red\x1b[0m not\n")
    first, second = log.tail
    assert first.text == "\x1b[1;31mred\x1b[0m"
    assert [(style.sgr, text) for style, text in spans(second.text)] == [
        ("1;31", "still"),
        ("31", " red"),
        ("", " not"),
    ]


def test_a_colour_set_in_lines_that_were_never_drawn_stays_in_force() -> None:
    log = shown("\x1b[32m" + "".join(f"{number}\n" for number in range(1000)), tail=5, head=0)
    assert [line.text for line in log.tail] == [f"\x1b[32m{n}\x1b[0m" for n in range(995, 1000)]


@pytest.mark.parametrize("cut", [1, 100_000, 3_000_000])
def test_an_endless_line_is_shortened_and_says_by_how_much(cut: int) -> None:
    data = b"x" * 10_000_000
    pieces = [data[at : at + cut] for at in range(0, len(data), cut)] if cut > 1 else [data]
    (line,) = shown(*pieces, b"\nend\n", width=100).tail[:1]
    assert line.text == "x" * 100
    assert line.left_out_bytes == 10_000_000 - 100


# --- folding and bounds ----------------------------------------------------------------------


def test_identical_lines_are_folded_with_their_count() -> None:
    log = shown("start\n" + "warning: x\n" * 412 + "end\n")
    assert [(line.text, line.repeat) for line in log.tail] == [
        ("start", 1),
        ("warning: x", 412),
        ("end", 1),
    ]
    assert (log.lines_seen, log.lines_shown, log.lines_folded) == (414, 3, 411)


def test_a_run_is_counted_exactly_however_long_it_is() -> None:
    line = b"\x1b[33mthe same thing again\x1b[0m\r\n"
    log = shown(b"first\n", *[line * 100_000] * 3, b"last\n", tail=5)
    assert [row.repeat for row in log.tail] == [1, 300_000, 1]


def test_the_end_of_a_longer_line_is_no_repeat() -> None:
    log = shown(b"x\n" * 300_000 + b"bb\na\n" + b"ba\n" + b"a\n" * 3, tail=3, head=0)
    assert [(line.text, line.repeat) for line in log.tail] == [("a", 1), ("ba", 1), ("a", 3)]


def test_first_and_last_lines_are_kept_and_the_rest_is_counted() -> None:
    log = shown(*(f"line {number}\n" for number in range(1000)), tail=50, head=20)
    assert texts(log) == [f"line {n}" for n in (*range(20), *range(950, 1000))]
    assert (log.lines_seen, log.lines_shown, log.lines_left_out) == (1000, 70, 930)
    at_once = shown("".join(f"line {number}\n" for number in range(1000)), tail=50, head=20)
    assert at_once == log


def test_blank_lines_and_nothing() -> None:
    assert shown("\n\n\n").tail[0].repeat == 3
    assert shown("").lines_seen == 0
    assert LogView().snapshot().ranks == ()
    assert LogView().snapshot().rank(5).summary == "no output"


LINES = st.lists(st.sampled_from(["a", "b", "ba", "", "é", "long line"]), max_size=60)


@given(lines=LINES, cuts=st.lists(st.integers(0, 300), max_size=4), tail=st.integers(1, 12))
def test_the_tail_is_the_last_runs_of_the_log(lines: list[str], cuts: list[int], tail: int) -> None:
    data = "".join(line + "\n" for line in lines).encode()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    log = shown(*(data[a:b] for a, b in itertools.pairwise(edges)), tail=tail, head=2)
    runs = [(text, len(list(group))) for text, group in itertools.groupby(lines)]
    assert [(line.text, line.repeat) for line in log.tail] == runs[-tail:]
    assert log.lines_seen == len(lines)
    assert [line.text for line in log.head] == [text for text, _ in runs[: len(log.head)]]


PIECES = st.sampled_from(
    [
        "a",
        "bb",
        "\n",
        "\n",
        "\r",
        "\b",
        "\t",
        "é",
        "\x1b[A",
        "\x1b[3A",
        "\x1b[B",
        "\x1b[K",
        "\x1b[2K",
        "\x1b[J",
        "\x1b[31m",
        "\x1b[0m",
        "\x1b",
        "\x1b]",
        "[",
        "\x07",
        "long " * 5,
        "\x1b[2C",
        "\x1b[2D",
    ]
)


@settings(max_examples=300)
@given(
    chunks=st.lists(st.lists(PIECES, max_size=30).map("".join), max_size=6),
    tail=st.integers(1, 6),
    head=st.integers(0, 3),
    gaps=st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_every_line_is_accounted_for(
    chunks: list[str], tail: int, head: int, gaps: list[bool]
) -> None:
    view = LogView(tail_lines=tail, head_lines=head, width=12)
    offset = 0
    for chunk, gap in zip(chunks, gaps, strict=False):
        offset += 7 if gap else 0
        data = chunk.encode()
        view.feed(0, offset, data)
        offset += len(data)
        log = view.snapshot().rank(0)
        assert log.lines_seen == log.lines_shown + log.lines_folded + log.lines_left_out
        rows = [line for line in (*log.head, *log.tail) if not line.missing_bytes]
        assert log.lines_shown == len(rows)
        assert min([log.lines_left_out, log.lines_folded, *(row.repeat - 1 for row in rows)]) >= 0
        # The unfinished last line takes nobody's place.
        assert len(log.tail) <= tail + 1
        assert len(log.head) <= head
    if not any(gaps):
        breaks = "".join(chunks).count("\n")
        assert view.snapshot().rank(0).lines_seen - breaks in {0, 1}


@given(text=st.text(alphabet="ab\r\n\bé", max_size=80), cut=st.integers(0, 80))
def test_one_line_redraws_like_a_naive_terminal(text: str, cut: int) -> None:
    rows = [""]
    x = 0
    for char in text:
        if char == "\n":
            rows.append("")
            x = 0
        elif char in "\r\b":
            x = 0 if char == "\r" else max(0, x - 1)
        else:
            rows[-1] = rows[-1][:x] + char + rows[-1][x + 1 :]
            x += 1
    if not rows[-1]:
        rows.pop()
    log = shown(text[:cut], text[cut:])
    unfolded = [line.text for line in log.tail for _ in range(line.repeat)]
    assert unfolded == rows


# --- bytes that come twice, or never ---------------------------------------------------------


def test_bytes_that_come_twice_are_ignored() -> None:
    view = LogView()
    view.feed(0, 0, b"one\ntwo\n")
    version = view.snapshot().version
    view.feed(0, 0, b"one\ntwo\n")
    view.feed(0, 4, b"two\n")
    assert view.snapshot().version == version
    view.feed(0, 4, b"two\nthree\n")
    assert view.text(0) == "one\ntwo\nthree"
    assert view.offset(0) == 14
    assert view.snapshot().rank(0).bytes_seen == 14


def test_a_gap_is_recorded_and_shown_where_it_is() -> None:
    view = LogView()
    view.feed(0, 0, b"one\nhal")
    view.feed(0, 1007, b"f\nlast\n")
    view.feed(0, 7, b"late")
    log = view.snapshot().rank(0)
    assert log_text(log).splitlines() == [
        "one",
        "hal",
        "⋯ 1,000 bytes are missing here ⋯",
        "f",
        "last",
    ]
    assert (log.bytes_missing, log.bytes_seen, log.lines_seen) == (1000, 14, 4)


def test_a_log_joined_in_the_middle_begins_with_a_gap() -> None:
    view = LogView()
    view.feed(0, 500, b"x\n")
    assert view.text(0) == "⋯ 500 bytes are missing here ⋯\nx"


# --- many ranks ------------------------------------------------------------------------------


def test_a_rank_that_prints_the_same_is_summarised() -> None:
    view = LogView()
    text = "".join(f"epoch {number}\n" for number in range(240)).encode()
    view.feed(0, 0, text + b"saved\n")
    view.feed(1, 0, text)
    view.feed(2, 0, b"warning\n" + text[8:])
    view.feed(LAUNCHER, 0, b"hello\n")
    snapshot = view.snapshot()
    assert [log.rank for log in snapshot.ranks] == [0, 1, 2, LAUNCHER]
    assert snapshot.rank(1).summary == "240 lines, the same as rank 0"
    assert snapshot.rank(1).same_as_first
    assert not snapshot.rank(2).same_as_first
    assert snapshot.rank(2).summary.startswith("240 lines")
    assert snapshot.rank(0).summary == "241 lines"
    assert snapshot.rank(LAUNCHER).summary == "1 line"


def test_lines_as_on_rank_0_are_counted() -> None:
    view = LogView()
    view.feed(0, 0, b"start\nepoch 1\nepoch 2\n")
    view.feed(1, 0, b"start\nmine\nepoch 2\n")
    assert view.snapshot().rank(1).summary == "3 lines, 2 as on rank 0"
    view.feed(0, 22, b"mine\n")
    assert view.snapshot().rank(1).lines_same == 3


@pytest.mark.parametrize("step", [1000, 65_536, 262_144])
def test_sameness_is_exact_over_logs_longer_than_what_is_kept(step: int) -> None:
    data = b"".join(b"%07d\n" % number for number in range(100_000))
    other = data[:-5] + b"x" + data[-4:]
    view = LogView()
    for at in range(0, len(data), step):
        view.feed(0, at, data[at : at + step])
        view.feed(1, at, data[at : at + step])
        view.feed(2, at, other[at : at + step])
    view.feed(3, 0, data[: len(data) - 300_000])
    view.feed(4, 0, data + b"more\n")
    same = {log.rank: log.same_as_first for log in view.snapshot().ranks}
    assert same == {0: False, 1: True, 2: False, 3: True, 4: False}


def test_a_snapshot_does_not_change_and_is_reused_while_nothing_does() -> None:
    view = LogView()
    view.feed(0, 0, b"one\n")
    view.feed(1, 0, b"uno\n")
    first = view.snapshot()
    view.feed(1, 4, b"dos\n")
    second = view.snapshot()
    assert [len(log.tail) for log in first.ranks] == [1, 1]
    assert second.rank(0) is first.rank(0)
    assert second.version == first.version + 1


# --- secrets ---------------------------------------------------------------------------------


def test_secrets_are_hidden_wherever_they_are() -> None:
    view = LogView(redact=("hunter22", "-----KEY\nabcdefgh\n-----END", "123", ""), width=20)
    view.feed(0, 0, b"token=hunter22 ok 123\nhun\x1b[31mter22\x1b[0m!\nabcdefgh\nxhun")
    view.feed(0, view.offset(0), b"ter22\r")
    view.feed(0, view.offset(0), b"\n" + b"." * 16 + b"hunter22" + b"." * 100 + b"\n")
    text = view.text(0)
    assert text.splitlines()[:4] == ["token=••• ok 123", "•••!", "•••", "x•••"]
    assert "hunt" not in text
    assert "hunter22" not in repr(view.redactor)


def test_a_redactor_without_values_changes_nothing() -> None:
    assert Redactor()("a text") == "a text"


# --- HTML ------------------------------------------------------------------------------------


def test_html_escapes_everything_and_names_colours_by_class() -> None:
    written = ansi_html('<script>&"\x1b[1;31m<b>\x1b[0m')
    assert written == (
        '&lt;script&gt;&amp;&quot;<span class="aiinfra-bold aiinfra-fg-1">&lt;b&gt;</span>'
    )


@pytest.mark.parametrize(
    ("sequence", "attributes"),
    [
        ("31", 'class="aiinfra-fg-1"'),
        ("97", 'class="aiinfra-fg-15"'),
        ("44", 'class="aiinfra-bg-4"'),
        ("103", 'class="aiinfra-bg-11"'),
        ("3;4;7;9;2", 'class="aiinfra-dim aiinfra-italic aiinfra-underline aiinfra-inverse'),
        ("38;5;1", 'style="color:var(--aiinfra-ansi-1)"'),
        ("38;5;208", 'style="color:rgb(255,135,0)"'),
        ("48;5;255", 'style="background-color:rgb(238,238,238)"'),
        ("38;2;1;2;3", 'style="color:rgb(1,2,3)"'),
        ("38:2::1:2:3", 'style="color:rgb(1,2,3)"'),
        ("38:5:208", 'style="color:rgb(255,135,0)"'),
        ("1;48;2;9;8;7", 'class="aiinfra-bold" style="background-color:rgb(9,8,7)"'),
        ("4:3", 'class="aiinfra-underline"'),
    ],
)
def test_each_kind_of_colour(sequence: str, attributes: str) -> None:
    assert ansi_html(f"\x1b[{sequence}mx").startswith(f"<span {attributes}")
    # What a line keeps of it means the same.
    (line,) = shown(f"\x1b[{sequence}mx\n").tail
    assert ansi_html(line.text) == ansi_html(f"\x1b[{sequence}mx")


@pytest.mark.parametrize(
    "sequence", ["38", "38;5", "38;5;999", "38;2;1;2", "58;5;1;0", "200", "1;" * 60, "4:0", "39;49"]
)
def test_a_malformed_colour_is_no_colour(sequence: str) -> None:
    assert "style" not in ansi_html(f"\x1b[{sequence}mx")
    assert strip_ansi(f"\x1b[{sequence}mx") == "x"


def test_attributes_are_switched_off_one_by_one() -> None:
    assert ansi_html("\x1b[1;3;31mx\x1b[23;39my\x1b[22mz").endswith(
        '<span class="aiinfra-bold">y</span>z'
    )


@given(st.text(max_size=60))
def test_html_never_lets_a_tag_through(text: str) -> None:
    written = ansi_html(text)
    assert written.count("<") == 2 * written.count("<span ")


# --- speed -----------------------------------------------------------------------------------


def test_a_flood_costs_little() -> None:
    data = b"".join(
        b"step %07d loss 0.123456 acc 0.98765 lr 0.001 xxxxxxx\n" % n for n in range(500_000)
    )
    view = LogView()
    before = time.process_time()
    for at in range(0, len(data), 256 * 1024):
        view.feed(0, at, data[at : at + 256 * 1024])
    log = view.snapshot().rank(0)
    cost = time.process_time() - before
    assert log.lines_seen == 500_000 == log.lines_shown + log.lines_left_out
    # About 0.05 s on a quiet core; interpreting every line would take ten times the bound.
    assert cost < 0.25
