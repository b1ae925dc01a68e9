"""What a cell shows is kept as a front end shows it, and never more than so much of it."""

from __future__ import annotations

import pytest

from jupyter_aiinfra.node.outputs import CellOutputs, Limits, size_text

SMALL = Limits(head=100, tail=50, data=1000, all_data=1500, outputs=3)


def shown(*, text: str = "", **data: str) -> dict[str, object]:
    bundle = {"text/plain": text, **{k.replace("_", "/"): v for k, v in data.items()}}
    return {"output_type": "display_data", "data": bundle, "metadata": {}}


def text_of(outputs: CellOutputs) -> str:
    return "".join(each.get("text", "") for each in outputs.outputs())


def test_streams_that_follow_each_other_are_one_output() -> None:
    outputs = CellOutputs(Limits())
    for name, text in [("stdout", "a"), ("stdout", "b\n"), ("stderr", "c"), ("stdout", "d")]:
        assert outputs.write(name, text) == text
    assert outputs.outputs() == [
        {"output_type": "stream", "name": "stdout", "text": "ab\n"},
        {"output_type": "stream", "name": "stderr", "text": "c"},
        {"output_type": "stream", "name": "stdout", "text": "d"},
    ]
    assert outputs.outputs() == outputs.outputs()


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["10 %\r", "20 %\r", "30 %"], "30 %"),
        (["10 %", "\r20 %", "\rdone\n", "next"], "done\nnext"),
        (["a line\r\n", "another\r\n"], "a line\r\nanother\r\n"),
        (["kept\n10 %\r\r20 %\n"], "kept\n20 %\n"),
    ],
)
def test_carriage_returns_write_over_the_line(pieces: list[str], text: str) -> None:
    outputs = CellOutputs(Limits())
    for piece in pieces:
        outputs.write("stderr", piece)
    assert text_of(outputs) == text


def test_a_progress_bar_of_a_week_is_one_line() -> None:
    outputs = CellOutputs(SMALL)
    for step in range(10_000):
        outputs.write("stderr", f"\rstep {step}")
    assert text_of(outputs) == "step 9999"
    assert outputs.folded == 0


@pytest.mark.parametrize("size", [1, 7, 60, 999])
def test_a_flood_keeps_its_beginning_and_its_end(size: int) -> None:
    whole = "".join(f"{number:05d}\n" for number in range(500))
    outputs = CellOutputs(SMALL)
    kept = "".join(
        outputs.write("stdout", whole[at : at + size]) for at in range(0, len(whole), size)
    )
    text = text_of(outputs)
    assert kept == whole[:100]
    assert text.startswith(whole[:100])
    assert text.endswith(whole[-50:])
    assert outputs.folded == len(whole) - 150
    assert "2.9 kB of output folded away here" in text


def test_what_is_just_not_too_much_is_whole() -> None:
    outputs = CellOutputs(SMALL)
    whole = "x" * 150
    outputs.write("stdout", whole)
    assert text_of(outputs) == whole
    assert outputs.folded == 0


def test_clearing_waits_for_the_next_output_if_asked() -> None:
    outputs = CellOutputs(Limits())
    outputs.write("stdout", "old")
    outputs.clear(wait=True)
    assert text_of(outputs) == "old"
    outputs.write("stdout", "new")
    assert text_of(outputs) == "new"
    outputs.clear(wait=False)
    assert outputs.outputs() == []


def test_a_display_is_changed_where_it_is_shown() -> None:
    outputs = CellOutputs(Limits())
    outputs.show(shown(text="1"), "bar")
    outputs.show(shown(text="1"), "bar")
    assert outputs.update("bar", {"text/plain": "2"}, {})
    assert not outputs.update("other", {"text/plain": "3"}, {})
    assert [each["data"] for each in outputs.outputs()] == [{"text/plain": "2"}] * 2


def test_what_is_too_large_is_left_out_and_said() -> None:
    outputs = CellOutputs(SMALL)
    outputs.show(shown(text="a picture", image_png="x" * 1001))
    outputs.show(shown(image_png="y" * 900))
    outputs.show(shown(image_png="z" * 900))
    first, second, third = (each["data"] for each in outputs.outputs())
    assert first == {"text/plain": "a picture"}
    assert second["image/png"] == "y" * 900
    assert third.keys() == {"text/plain"}


def test_only_so_many_outputs_are_kept_but_an_error_always() -> None:
    outputs = CellOutputs(SMALL)
    for number in range(10):
        outputs.show(shown(text=str(number)))
    error = {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["t" * 300_000, "u"]}
    outputs.show(error)
    *plain, last, note = outputs.outputs()
    assert [each["data"]["text/plain"] for each in plain] == ["0", "1", "2"]
    assert len(last["traceback"][0]) == 200_000
    assert note["text"] == "… 7 more outputs left out\n"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (37_200_000, "37.2 MB"), (2e12, "2000.0 GB")],
)
def test_sizes_in_words(size: float, text: str) -> None:
    assert size_text(size) == text
