from __future__ import annotations

import pytest
import rich.console

from jupyter_aiinfra.commands.terminal import as_typed, table_text


@pytest.mark.parametrize("in_kernel", [False, True])
def test_a_table_is_returned_and_not_displayed(
    in_kernel: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: in_kernel)
    text = table_text(("name", "size"), [("train_x", "368 kB"), ("[bold]", "5 B")])
    lines = text.splitlines()
    assert lines[0].split() == ["name", "size"]
    assert [line.split(maxsplit=1) for line in lines[2:]] == [
        ["train_x", "368 kB"],
        ["[bold]", "5 B"],
    ]
    assert capsys.readouterr().out == ""


def test_magics_in_a_hint_are_named_as_commands() -> None:
    assert as_typed("%jobs logs 0abc tells") == "jupyter aiinfra jobs logs 0abc tells"
    assert as_typed("%schedule lists them") == "jupyter aiinfra schedule lists them"
    assert as_typed("strftime %schedule% and 5 %pooled") == "strftime %schedule% and 5 %pooled"
    assert as_typed("%%accelerate POOL …") == "jupyter aiinfra run SCRIPT --pool POOL …"
