"""A log of any length by its rows."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_aiinfra.logview import Redactor, rows, strip_ansi
from jupyter_aiinfra.logview.masking import ByteMask
from jupyter_aiinfra.logview.rows import SHOWN_CHARACTERS, LineDrawer, RowIndex, TextRow
from jupyter_aiinfra.logview.search import RowFinder

DRAW = LineDrawer(Redactor())
# Small, so that a small log has what otherwise only a large one has.
SMALL: dict[str, Any] = {
    "_LONG_BYTES": 24,
    "_MARK_ROWS": 4,
    "_MARK_BYTES": 40,
    "_BLOCK_BYTES": 64,
    "_SPAN_BYTES": 50,
}


def _index(data: bytes, cuts: tuple[int, ...] = ()) -> RowIndex:
    index = RowIndex()
    for begin, end in itertools.pairwise(
        sorted({0, len(data), *(c % (len(data) + 1) for c in cuts)})
    ):
        index.feed(data[begin:end])
    return index


def _rows(
    data: bytes, first: int = 0, count: int = 1 << 40, *, index: RowIndex | None = None
) -> list[TextRow]:
    def read(offset: int, size: int) -> bytes:
        assert offset >= 0
        assert offset + size <= len(data), "no byte is asked for that was not fed"
        return data[offset : offset + size]

    return (index or _index(data)).rows(first, count, read, DRAW)


def _one(line: bytes) -> TextRow:
    (row,) = _rows(line)
    return row


def _reference(data: bytes, long: int) -> list[tuple[int, int, bytes]]:
    """Return line, repeat and bytes of each row, the plain way."""
    *lines, rest = data.split(b"\n")
    found: list[tuple[int, int, bytes]] = []
    for number, line in enumerate(lines, 1):
        if found and found[-1][2] == line and len(line) <= long:
            found[-1] = (found[-1][0], found[-1][1] + 1, line)
        else:
            found.append((number, 1, line))
    if rest:
        found.append((len(lines) + 1, 1, rest))
    return found


LINES = st.lists(
    st.tuples(
        st.sampled_from(
            [b"", b"a", b"bb", b"\xc3\xa4", b"x" * 24, b"x" * 25, b"y" * 90, b"z" * 11]
        ),
        st.integers(1, 30),
    ),
    max_size=40,
)


class TestAnyLog:
    @given(
        LINES, st.sampled_from([b"", b"a", b"open", b"o" * 60]), st.lists(st.integers(0, 1 << 20))
    )
    def test_rows_are_those_of_the_plain_way(
        self, lines: list[tuple[bytes, int]], rest: bytes, cuts: list[int]
    ) -> None:
        data = b"".join((line + b"\n") * times for line, times in lines) + rest
        with mock.patch.multiple(rows, **SMALL):
            index = _index(data, tuple(cuts))
            found = _rows(data, index=index)
            expected = _reference(data, 24)
            assert [(row.line, row.repeat) for row in found] == [each[:2] for each in expected]
            assert [
                row.text.encode() + b"." * row.left_out for row in found if not row.left_out
            ] == [line for _, _, line in expected if len(line) <= 25]
            assert [len(row.text.encode()) + row.left_out for row in found] == [
                len(line) for _, _, line in expected
            ]
            assert index.total_rows == len(expected)
            assert index.total_bytes == len(data)
            assert index.total_lines == sum(row.repeat for row in found)
            assert index.total_lines == data.count(b"\n") + bool(rest)
            for first in range(0, len(expected), 3):
                assert _rows(data, first, 5, index=index) == found[first : first + 5]

    @given(st.binary(max_size=400), st.lists(st.integers(0, 400)))
    def test_bytes_of_any_kind_make_the_same_rows_however_cut(
        self, data: bytes, cuts: list[int]
    ) -> None:
        with mock.patch.multiple(rows, **SMALL):
            found = _rows(data, index=_index(data, tuple(cuts)))
            assert found == _rows(data)
            assert sum(row.repeat for row in found) == data.count(b"\n") + (data[-1:] not in b"\n")
            assert [(row.line, row.repeat) for row in found] == [
                each[:2] for each in _reference(data, 24)
            ]
        for row in found:
            assert not set(strip_ansi(row.text)) & {
                *map(chr, range(32)),
                *map(chr, range(127, 160)),
            }

    def test_asking_for_what_is_not_there_gives_nothing(self) -> None:
        assert _rows(b"") == []
        assert _rows(b"a\nb\n", 2, 10) == []
        assert _rows(b"a\nb\n", -1, 10) == []
        assert [row.text for row in _rows(b"a\nb\n", 1, 10)] == ["b"]

    def test_only_a_few_bytes_are_read_for_a_few_rows(self) -> None:
        data = b"".join(
            b"%07d loss 0.123456789 lr 0.000123\n" % number for number in range(100_000)
        )
        index = _index(data)
        spans = list(index.spans(50_000, 200))
        assert sum(size for span in spans for _, size in span.reads) < 40_000
        assert index.marks < 500

    def test_a_million_lines(self) -> None:
        data = b"".join(b"line %d of the log\n" % number for number in range(1_000_000))
        index = _index(data)
        assert (index.total_rows, index.total_lines) == (1_000_000, 1_000_000)
        middle = _rows(data, 499_999, 3, index=index)
        assert middle == [
            (f"line {n} of the log", 0, n + 1, 1) for n in (499_999, 500_000, 500_001)
        ]
        assert _rows(data, 999_998, 200, index=index)[-1].text == "line 999999 of the log"


class TestGrowing:
    def test_the_open_line_is_a_row_until_it_is_one_more_of_the_row_before(self) -> None:
        index = RowIndex()
        data = b"same\nsa"
        index.feed(data)
        assert [(row.text, row.repeat) for row in _rows(data, index=index)] == [
            ("same", 1),
            ("sa", 1),
        ]
        index.feed(b"me\n")
        data += b"me\n"
        assert [(row.text, row.repeat) for row in _rows(data, index=index)] == [("same", 2)]
        assert (index.total_rows, index.total_lines) == (1, 2)

    def test_a_long_run_costs_little_wherever_it_ends(self) -> None:
        data = b"first\n" + b"again and again\n" * 1_000_000 + b"last\n"
        index = _index(data)
        found = _rows(data, index=index)
        assert [(row.text, row.line, row.repeat) for row in found] == [
            ("first", 1, 1),
            ("again and again", 2, 1_000_000),
            ("last", 1_000_002, 1),
        ]
        assert sum(size for span in index.spans(0, 9) for _, size in span.reads) < 50_000


class TestHostile:
    def test_html_stays_text(self) -> None:
        assert _one(b"<script>alert(1)</script>\n").text == "<script>alert(1)</script>"

    def test_only_colours_survive(self) -> None:
        line = b"\x1b[31mred\x1b[0m \x1b]0;title\x07\x1b]8;;http://x\x1b\\link\x1b[2J\x1b[?25l\x1bc\x9b\n"
        assert _one(line).text.replace("\ufffd", "") == "\x1b[31mred\x1b[0m link"

    def test_a_colour_ends_with_its_line(self) -> None:
        assert [row.text for row in _rows(b"\x1b[1;31mred\nplain\n")] == [
            "\x1b[1;31mred\x1b[0m",
            "plain",
        ]

    def test_invalid_utf8_is_replaced_and_nuls_are_gone(self) -> None:
        assert _one(b"a\xff\xc3\x00b\n").text == "a\ufffd\ufffdb"

    def test_carriage_returns(self) -> None:
        assert _one(b"10%\r50%\r100%\n").text == "100%"
        assert _one(b"a longer one\rshort\n").text == "shortger one"
        assert _one(b"a longer one\r\x1b[Kshort\r\n").text == "short"
        assert [row.text for row in _rows(b"one\r\ntwo\r\n")] == ["one", "two"]
        assert _one(b"\r\r\r").text == ""

    def test_a_progress_bar_of_hours_is_shown_as_it_was_in_the_end(self) -> None:
        bar = b"".join(b"\r%7d/1000000 [=======>      ]" % number for number in range(100_000))
        assert _one(bar).text == "  99999/1000000 [=======>      ]"
        assert _one(bar + b"\r\n").text == "  99999/1000000 [=======>      ]"
        assert _one(bar + b"\n").left_out == 0

    def test_ten_megabytes_without_a_newline_cost_little_memory(self) -> None:
        piece = b"x" * 65_536
        index = RowIndex()
        tracemalloc.start()
        for _ in range(160):
            index.feed(piece)
        (span,) = index.spans(0, 10)
        pieces = [b"x" * size for _, size in span.reads]
        ((text, left_out, line, repeat),) = span.rows(pieces, DRAW)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (text, line, repeat) == ("x" * SHOWN_CHARACTERS, 1, 1)
        assert left_out == 160 * 65_536 - SHOWN_CHARACTERS
        assert peak < 1_000_000

    def test_a_long_line_of_wide_characters_is_cut_between_two(self) -> None:
        row = _one("€".encode() * 20_000 + b"\n")
        assert row.text == "€" * SHOWN_CHARACTERS
        assert row.left_out == 3 * (20_000 - SHOWN_CHARACTERS)


class TestSecrets:
    def test_are_hidden_also_where_a_colour_or_the_cut_parts_them(self) -> None:
        draw = LineDrawer(Redactor(["hunter22secret"]))
        for line in (
            b"key hunter22secret!",
            b"key hunter\x1b[31m22secret!",
            b"key hunter\x0022secret!",
        ):
            index = _index(line)
            (row,) = index.rows(0, 1, lambda at, size, line=line: line[at : at + size], draw)  # type: ignore[misc]
            assert strip_ansi(row.text) == "key •••!"

    @pytest.mark.parametrize("times", [1, 20, 280, 300, 5000])
    def test_no_part_is_seen_at_the_end_of_a_line_that_is_cut(self, times: int) -> None:
        secret = "hunter22secret"
        draw = LineDrawer(Redactor([secret]))
        for before in range(0, 40, 7):
            line = (b"-" * before + secret.encode() * times) + b"tail" * 2000
            index = _index(line)
            (row,) = index.rows(0, 1, lambda at, size, line=line: line[at : at + size], draw)  # type: ignore[misc]
            assert "hunt" not in row.text

    @given(
        st.text("ab", max_size=60).map(str.encode),
        st.lists(st.text("ab", min_size=4, max_size=6), max_size=3),
        st.integers(0, 60),
        st.integers(0, 60),
    )
    def test_a_masked_part_is_that_part_of_the_masked_whole(
        self, data: bytes, values: list[str], begin: int, size: int
    ) -> None:
        mask = ByteMask(values)
        whole = mask(data)
        assert len(whole) == len(data)
        assert not any(value.encode() in whole for value in values)
        low = max(0, begin - mask.reach)
        part = mask(data[low : begin + size + mask.reach])[begin - low :][:size]
        assert part == whole[begin : begin + size]


class TestSearch:
    @staticmethod
    def _find(data: bytes, query: str, *, match_case: bool = False, secret: str = "") -> list[int]:
        finder = RowFinder(query, LineDrawer(Redactor([secret])), match_case=match_case)
        found: list[int] = []
        for span in _index(data).spans(0, 1 << 40):
            found += finder.find(span, [data[at : at + size] for at, size in span.reads], first=0)
        return found

    def test_finds_what_is_shown(self) -> None:
        data = b"Loss 1\nloss 2\nloss 2\nother\nl\x1b[31moss\x1b[0m\nlosing\rLOSS\nx\x00loss\r\n"
        assert self._find(data, "loss") == [0, 1, 3, 4, 5]
        assert self._find(data, "LOSS", match_case=True) == [4]
        assert self._find(data, "losing") == []
        assert self._find("Größe\nGRÖSSE\ngröße\n".encode(), "GRÖ") == [0, 1, 2]
        assert self._find(b"\xff\nplain\n", "\ufffd") == [0]

    def test_a_secret_is_not_found_and_what_stands_there_is(self) -> None:
        data = b"key hunter22\nnothing\n"
        assert self._find(data, "hunter", secret="hunter22") == []
        assert self._find(data, "y •••", secret="hunter22") == [0]

    @given(
        st.lists(
            st.sampled_from([b"ab", b"AB", b"a\x1b[1mb", b"a\tb", b"\xc3\xa4b", b"a", b"b\rab"])
        ),
        st.sampled_from(["ab", "a", "ä", "a ", "B"]),
        st.booleans(),
    )
    def test_guessing_from_bytes_loses_no_row(
        self, lines: list[bytes], query: str, match_case: bool
    ) -> None:
        data = b"".join(line + b"\n" for line in lines)

        def holds(text: str) -> bool:
            text = strip_ansi(text)
            return query in text if match_case else query.lower() in text.lower()

        expected = [number for number, row in enumerate(_rows(data)) if holds(row.text)]
        assert self._find(data, query, match_case=match_case) == expected
