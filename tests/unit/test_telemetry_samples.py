"""What a probe prints becomes samples, whatever it prints; what changed becomes a short text."""

from __future__ import annotations

import json
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_aiinfra.telemetry.deltas import apply_changes, changes
from jupyter_aiinfra.telemetry.history import History
from jupyter_aiinfra.telemetry.packing import Bucket, Chunk, pack, unpack
from jupyter_aiinfra.telemetry.sample import LineReader, parse_sample
from jupyter_aiinfra.telemetry.series import GPU_SERIES, MOST_STEPS, steps
from tests.support.readings import a_gpu, a_sample


def line(sample: Any) -> bytes:
    return json.dumps(sample).encode() + b"\n"


class TestSamples:
    def test_a_sample_has_units_in_its_names(self) -> None:
        process = {"pid": 7, "mem": 5, "user": "ada", "cmd": "python", "job": "0abc", "seat": 3}
        sample = parse_sample(line(a_sample(a_gpu(procs=[process]))))
        (gpu,) = sample.gpus
        assert (gpu.power_watts, gpu.temperature_celsius, gpu.sm_clock_mhz) == (350.0, 55.0, 1980.0)
        assert gpu.pcie_tx_bytes_per_second == 2e9
        assert gpu.nvlink_rx_bytes_per_second is None
        assert gpu.processes is not None
        assert (gpu.processes[0].job, gpu.processes[0].seat) == ("0abc", 3)
        assert sample.node.cpu_count == 64

    def test_unknown_is_never_nothing(self) -> None:
        bare = parse_sample(b'{"at": 1, "gpus": [{"uuid": "GPU-a"}]}')
        assert bare.gpus[0].utilization_percent is None
        assert bare.gpus[0].processes is None
        assert bare.gpus[0].throttle is None
        assert bare.node.cpu_percent is None

    @pytest.mark.parametrize("value", ["7", True, -1, [], {}, float("nan"), float("inf"), 10**400])
    def test_a_value_that_cannot_be_is_unknown(self, value: Any) -> None:
        text = json.dumps(a_sample(a_gpu(util=value, mem_used=value)))
        (gpu,) = parse_sample(text.encode()).gpus
        assert gpu.utilization_percent is None
        assert gpu.memory_used_bytes is None
        assert gpu.power_watts == 350.0

    def test_keys_of_another_version_are_left_out(self) -> None:
        sample = parse_sample(line(a_sample(a_gpu(tensor=5), quantum={"bits": 3})))
        assert sample.gpus[0].utilization_percent == 50.0

    def test_of_two_gpus_with_one_uuid_the_first_counts(self) -> None:
        sample = parse_sample(line(a_sample(a_gpu(util=1), a_gpu(util=2), {"name": "x"})))
        assert [gpu.utilization_percent for gpu in sample.gpus] == [1.0]

    def test_what_cannot_be_printed_is_replaced(self) -> None:
        sample = parse_sample(line(a_sample(a_gpu(name="A\x1b[31m\n" + "é" * 500))))
        assert sample.gpus[0].name.isprintable()
        assert len(sample.gpus[0].name) == 200

    def test_lines_come_in_any_pieces_and_damaged_ones_are_counted(self) -> None:
        reader = LineReader()
        data = line(a_sample(seq=1)) + b"Segmentation fault\n[1]\n{}\n\n" + line(a_sample(seq=2))
        found = [s for at in range(len(data)) for s in reader.feed(data[at : at + 1])]
        assert [sample.seq for sample in found] == [1, 2]
        assert reader.damaged == 3

    def test_a_line_without_end_is_given_up(self) -> None:
        reader = LineReader()
        for _ in range(40):
            assert reader.feed(b"x" * (1 << 16)) == []
        assert reader.damaged >= 1
        assert reader.feed(b"\n" + line(a_sample()))

    @given(st.binary(max_size=300))
    def test_no_bytes_are_fatal(self, data: bytes) -> None:
        LineReader().feed(data + b"\n")

    @given(
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
            lambda each: (
                st.lists(each, max_size=3)
                | st.dictionaries(st.sampled_from([*a_sample(), *a_gpu(), "pid"]), each, max_size=5)
            ),
            max_leaves=30,
        )
    )
    def test_no_value_is_fatal(self, value: Any) -> None:
        LineReader().feed(line({"at": 1.0, "gpus": [value, {"uuid": "a", "procs": value}]}))
        LineReader().feed(line(value))


class TestSteps:
    def test_the_unknown_has_no_steps(self) -> None:
        assert steps(None, 1) is None
        assert steps(0.4, 1) == 0
        assert steps(0.5, 1) == 1
        assert steps(1e30, 16) == MOST_STEPS

    def test_a_number_of_steps_fits_where_it_is_kept(self) -> None:
        assert array("h", [MOST_STEPS])[0] == MOST_STEPS


VALUES = st.none() | st.integers(0, MOST_STEPS) | st.integers(0, 60)


class TestChanges:
    @given(st.lists(st.tuples(VALUES, VALUES), max_size=60))
    def test_what_is_told_is_what_was(self, pairs: list[tuple[int | None, int | None]]) -> None:
        old, new = [before for before, _ in pairs], [now for _, now in pairs]
        text = changes(old, new)
        assert apply_changes(old, text) == new
        assert text.isascii()
        assert '"' not in text
        assert "\\" not in text

    def test_an_example(self) -> None:
        old = [5, 5, 5, 5, None, 7, 9, *[1] * 9, 3]
        new = [5, 6, 4, 100, 0, None, 9, *[1] * 9, 4]
        assert changes(old, new) == ".aA+95;!0;?10a"

    def test_nothing_new_is_nothing(self) -> None:
        assert changes([1, None], [1, None]) == ""

    @pytest.mark.parametrize("text", ["aa", "3", "+5", "x;", "+;", "!a;", "ä", "+1", "1.a"])
    def test_damage_is_noticed(self, text: str) -> None:
        with pytest.raises(ValueError, match="changes"):
            apply_changes([1], text)


class TestHistory:
    def test_a_ring_forgets_the_oldest(self) -> None:
        history = History(1, capacity=3)
        for seq in range(1, 6):
            history.add(seq, float(seq), {"a": [seq]})
        past = history.since(0)
        assert (past.first, past.seqs, past.rows) == (3, (3, 4, 5), {"a": ((3, 4, 5),)})
        assert history.since(4).seqs == (5,)
        assert history.after(3.5).at == (4.0, 5.0)
        assert history.since(5).seqs == ()

    def test_a_gpu_that_comes_later_or_goes_has_gaps(self) -> None:
        history = History(2, capacity=4)
        history.add(1, 1.0, {"a": [1, None]})
        history.add(2, 2.0, {"b": [2, 3]})
        rows = history.since(0).rows
        assert rows["a"] == ((1, None), (None, None))
        assert rows["b"] == ((None, 2), (None, 3))
        for seq in range(3, 7):
            history.add(seq, float(seq), {"b": [0, 0]})
        assert set(history.since(0).rows) == {"b"}

    def test_an_hour_of_eight_gpus_is_small(self) -> None:
        history = History(len(GPU_SERIES))
        for seq in range(1, 3602):
            history.add(seq, float(seq), {str(gpu): [1] * len(GPU_SERIES) for gpu in range(8)})
        assert len(history) == 3600
        assert history.size_bytes < 470_000


BUCKETS = st.builds(
    lambda mean, below, above, count: Bucket(mean, max(mean - below, 0), mean + above, count),
    st.integers(0, MOST_STEPS),
    st.integers(0, 500),
    st.integers(0, 500),
    st.integers(1, 40),
)
COLUMNS = st.dictionaries(st.integers(0, 59), BUCKETS, min_size=1, max_size=8)


class TestPacking:
    @given(
        st.dictionaries(
            st.text(max_size=10),
            st.dictionaries(st.sampled_from(["utilization", "memory", "power"]), COLUMNS),
            max_size=4,
        )
    )
    def test_what_is_unpacked_is_what_was_packed(self, columns: dict[str, Any]) -> None:
        found = unpack(pack(Chunk(columns))).columns
        assert {k: v for k, v in found.items() if v} == {k: v for k, v in columns.items() if v}

    def test_of_some_series_only_means_are_kept(self) -> None:
        chunk = Chunk({"a": {"temperature": {3: Bucket(50, 40, 60, 10)}}})
        assert unpack(pack(chunk)).columns["a"]["temperature"] == {3: Bucket(50, 50, 50, 10)}

    def test_only_what_is_asked_for(self) -> None:
        column = {0: Bucket(1, 1, 1, 1)}
        chunk = Chunk({gpu: {"utilization": dict(column), "power": dict(column)} for gpu in "ab"})
        found = unpack(pack(chunk), series={"power"}, gpus={"b"})
        assert found.columns == {"b": {"power": column}}

    @given(st.binary(max_size=80))
    def test_what_is_none_is_a_value_error(self, data: bytes) -> None:
        for each in (data, b"\x01" + data):
            with pytest.raises(ValueError, match="readings"):
                unpack(each)

    def test_a_chunk_cut_anywhere_is_a_value_error(self) -> None:
        data = pack(Chunk({"a": {"power": {n: Bucket(n, 0, 90, 9) for n in range(60)}}}))
        for cut in range(len(data) - 1):
            with pytest.raises(ValueError, match="readings"):
                unpack(data[:cut])
