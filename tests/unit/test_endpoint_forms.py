"""Forms of modules, spot machines and ``endpoint export``, as the lines say it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from jupyter_aiinfra.commands.context import Context
from jupyter_aiinfra.commands.endpointverbs import endpoint
from jupyter_aiinfra.commands.scheduleverbs import promote
from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.commands.terminal import JsonSurface
from jupyter_aiinfra.commands.tree import invoke
from jupyter_aiinfra.errors import NotFound, PoolNotFound, UsageError
from jupyter_aiinfra.model import PoolRecord
from jupyter_aiinfra.promote.packaging import report
from tests.support.endpoints import model
from tests.unit.test_endpoint_promote import endpoints, session

__all__ = ["endpoints", "session"]

ONE = {
    "device": "cpu",
    "weight_bytes": 2_000_000,
    "one_seconds": 0.0002,
    "many_seconds": 0.0011,
    "many": 32,
    "examples": 8,
    "off": 0.004,
    "chosen": 8,
    "same": 7,
}
MANIFEST = {
    "name": "net",
    "digest": "d" * 64,
    "calls": 1,
    "form": "bf16",
    "tolerance": [0.02, 0.1],
    "measured": {"form": ONE, "source": {**ONE, "weight_bytes": 4_000_000}},
}
SAID = (
    "bf16: 2 MB of weights (4 MB as it is), off by 0.4% of the largest answer (2% is let through), "
    "the same largest value in 7 of 8 examples, 0.2 ms for one example (0.2 ms), "
    "1.1 ms for 32 (1.1 ms) on cpu"
)


def run(of: Session, group: Any, *words: str) -> tuple[list[str], Any]:
    said: list[str] = []
    values: list[Any] = []

    class Kept(JsonSurface):
        def text(self, text: str) -> None:
            said.append(text)

        def table(
            self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str
        ) -> None:
            said.extend(" ".join(row) for row in rows)

        def value(self, value: Any) -> None:
            values.append(value)

    context = Context(session=of, surface=Kept(of))
    invoke(group, list(words), name=group.name, context=context)
    return said, values[-1] if values else None


class TestForm:
    @pytest.fixture
    def given(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
        folder = model(tmp_path / "m")
        (folder / "package.json").write_text(json.dumps(MANIFEST))
        found: dict[str, Any] = {}

        def package(source: Any, **values: Any) -> Any:
            found.clear()
            found.update(values)
            return SimpleNamespace(folder=folder)

        monkeypatch.setattr("jupyter_aiinfra.promote.packaging.package", package)
        main = SimpleNamespace(get_ipython=None, net=torch.nn.Linear(2, 1), predict=len)
        monkeypatch.setitem(sys.modules, "__main__", main)
        return found

    def test_it_is_told_how_a_form_does_before_it_is_deployed(
        self, session: Session, endpoints: Any, given: dict[str, Any]
    ) -> None:
        line = ("--name", "net", "--pool", "here", "--no-replay", "--detach")
        said, _ = run(session, promote, "endpoint", "net", *line, "--form", "bf16")
        assert SAID in said
        assert given["form"] == "bf16"
        assert "device" not in given

    @pytest.mark.parametrize(
        ("words", "device"),
        [
            (("net", "--gpus", "1"), "cuda"),
            (("net", "--gpus", "1", "--device", "auto"), "auto"),
            (("net", "--gpus", "1", "--form", "int8"), None),
            (("predict", "--gpus", "1"), None),
            (("net",), None),
        ],
    )
    def test_gpus_are_for_the_module(
        self,
        session: Session,
        endpoints: Any,
        given: dict[str, Any],
        words: tuple[str, ...],
        device: str | None,
    ) -> None:
        line = ("--name", "net", "--pool", "here", "--no-replay", "--detach")
        run(session, promote, "endpoint", *words, *line)
        assert given.get("device") == device

    def test_a_folder_is_what_it_is(self, session: Session, endpoints: Any, tmp_path: Path) -> None:
        folder = str(model(tmp_path / "made"))
        line = ("--name", "net", "--pool", "here", "--form", "bf16")
        with pytest.raises(UsageError, match="--form comes too late"):
            run(session, promote, "endpoint", folder, *line)


def test_what_was_not_measured_is_not_zero() -> None:
    assert report({"form": "source"}) is None
    failed = {"form": "onnx", "measured": {"form": {"failed": "no GPU"}}}
    assert report(failed) == "onnx was not measured: no GPU"
    alone = {**MANIFEST, "measured": {"form": {**ONE, "chosen": 0, "off": 0.0}}}
    assert report(alone) == (
        "bf16: 2 MB of weights (n/a as it is), off by 0% of the largest answer "
        "(2% is let through), 0.2 ms for one example (n/a), 1.1 ms for 32 (n/a) on cpu"
    )


class TestSpot:
    def test_another_pool_takes_the_place(
        self, session: Session, endpoints: Any, tmp_path: Path
    ) -> None:
        folder = str(model(tmp_path / "m"))
        session.engine.store.add_pool(PoolRecord(name="steady", kind="local"))
        line = (folder, "--name", "net", "--pool", "here", "--detach", "--spot")
        with pytest.raises(UsageError, match="nothing takes their place"):
            run(session, endpoint, "deploy", *line)
        run(session, endpoint, "deploy", *line, "--fallback-pool", "steady")
        store = session.engine.store
        whole = store.whole_endpoint(store.get_endpoint("net").id)
        assert whole.version(1).options.fallback_pool == "steady"
        # A new version falls back as the one before does.
        said, _ = run(session, endpoint, "update", "net", folder, "--detach", "--spot")
        assert any("here, else steady" in line for line in said)
        whole = store.whole_endpoint(whole.endpoint.id)
        assert whole.version(2).options.fallback_pool == "steady"
        with pytest.raises(PoolNotFound, match="nowhere"):
            run(session, endpoint, "update", "net", folder, "--fallback-pool", "nowhere")


class TestExport:
    def test_of_an_endpoint_its_files_are_taken(
        self,
        session: Session,
        endpoints: Any,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        folder = model(tmp_path / "m")
        run(session, endpoint, "deploy", str(folder), "--name", "net", "--pool", "here", "--detach")
        seen: dict[str, Any] = {}

        def hand_over(place: Path, to: Path, **values: Any) -> Any:
            files = {path.name: path.read_bytes() for path in place.rglob("*") if path.is_file()}
            seen.update(values, files=files, to=to)
            replay = SimpleNamespace(text="1 recorded call answered", calls=1)
            return SimpleNamespace(folder=to, files=(to / "a",), replay=replay)

        monkeypatch.setattr("jupyter_aiinfra.promote.packaging.handing.hand_over", hand_over)
        to = tmp_path / "out"
        _, value = run(session, endpoint, "export", "net", str(to), "--max-batch", "8")
        assert seen["files"] == {path.name: path.read_bytes() for path in folder.iterdir()}
        assert (seen["kind"], seen["name"], seen["max_batch"], seen["to"]) == (
            "triton",
            "net",
            8,
            to,
        )
        assert value["files"] == [str(to / "a")]
        with pytest.raises(NotFound, match="no version 7"):
            run(session, endpoint, "export", "net", str(to), "--version", "7")
        with pytest.raises(UsageError, match="has no versions"):
            run(session, endpoint, "export", str(folder), str(to), "--version", "1")

    def test_neither_an_endpoint_nor_a_folder(self, session: Session, tmp_path: Path) -> None:
        with pytest.raises(NotFound) as caught:
            run(session, endpoint, "export", "nobody", str(tmp_path / "out"))
        assert "a folder with endpoint.json" in (caught.value.hint or "")
