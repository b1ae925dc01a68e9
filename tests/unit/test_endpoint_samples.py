"""Requests that are kept: shown, chosen by lines, and taken as recorded calls."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.commands.context import Context
from jupyter_aiinfra.commands.costverbs import cost
from jupyter_aiinfra.commands.endpointverbs import endpoint
from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.commands.terminal import JsonSurface, TerminalSurface
from jupyter_aiinfra.commands.tree import invoke
from jupyter_aiinfra.engine.endpointsamples import EndpointSample
from jupyter_aiinfra.errors import NotFound, UsageError
from jupyter_aiinfra.model import PoolRecord
from jupyter_aiinfra.promote.routes import route
from jupyter_aiinfra.promote.samplecalls import calls_of
from jupyter_aiinfra.routing.samples import Sample
from jupyter_aiinfra.settings import Settings
from tests.support.endpoints import keep_samples, model, sampled


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    made = Session(Settings(home=tmp_path / "home"))
    made.engine.store.add_pool(PoolRecord(name="here", kind="local"))

    async def rest() -> float:
        return 3600.0

    monkeypatch.setattr(made.engine.endpoints.keeping, "tick", rest)
    run(made, "deploy", str(model(tmp_path / "m")), "--pool", "here", "--detach")
    yield made
    made.close()


def run(session: Session, *words: str) -> Any:
    """Run a line, and return the value that a program is given."""
    said: list[Any] = []

    class Kept(JsonSurface):
        def value(self, value: Any) -> None:
            said.append(value)

    context = Context(session=session, surface=Kept(session))
    invoke(endpoint, list(words), name="endpoint", context=context)
    return said[-1] if said else None


def sample(number: int, **told: Any) -> Sample:
    answer = {"outputs": [[number + 1]], "version": "1"}
    return sampled({"inputs": [[number, 1]]}, answer, **told)


def keep(session: Session, *kept: Sample) -> None:
    session.run(keep_samples(session.engine, *kept))


def told(session: Session) -> Any:
    """Return what the router is told of the endpoint."""
    store = session.engine.store
    whole = store.whole_endpoint(store.get_endpoint("adder").id)
    return route([whole], port=0, revision=1, now=time.time()).endpoints["adder"]


# --- which are kept ------------------------------------------------------------------------------


def test_which_are_kept_is_said_and_shown(session: Session) -> None:
    assert run(session, "sampling", "adder") == {
        "rate": 0.0,
        "redact": [],
        "keep": 1000,
        "days": 7.0,
    }
    line = ("--rate", "0.25", "--redact", "/inputs/0/name", "--redact", "email", "--keep", "10")
    made = {"rate": 0.25, "redact": ["/inputs/0/name", "email"], "keep": 10, "days": 2.0}
    assert run(session, "sampling", "adder", *line, "--days", "2") == made
    assert run(session, "sampling", "adder") == made
    sampling = told(session).sampling
    assert (sampling.rate, sampling.keep, sampling.days) == (0.25, 10, 2.0)
    assert sampling.redact == ("/inputs/0/name", "email")
    endpoint_row = session.engine.store.get_endpoint("adder")
    assert sampling.since == endpoint_row.created_at
    assert run(session, "sampling", "adder", "--no-redact")["redact"] == []
    assert run(session, "sampling", "adder", "--rate", "0", "--keep", "0")["keep"] == 0


def test_what_contradicts_itself_is_refused(session: Session) -> None:
    with pytest.raises(UsageError, match="contradict"):
        run(session, "sampling", "adder", "--redact", "x", "--no-redact")
    with pytest.raises(UsageError, match="left out has a name"):
        run(session, "sampling", "adder", "--redact", "")
    assert session.engine.store.get_endpoint("adder").options.redact == ()


def test_how_requests_are_routed_is_said(session: Session) -> None:
    asked = told(session)
    assert (asked.idempotent, asked.sticky, asked.tolerance) == (True, "x-session-id", 0.001)
    line = ("--not-idempotent", "--sticky", "X-User", "--tolerance", "0.05")
    said = run(session, "configure", "adder", *line)
    assert said["options"]["idempotent"] is False
    asked = told(session)
    assert (asked.idempotent, asked.sticky, asked.tolerance) == (False, "X-User", 0.05)
    run(session, "configure", "adder", "--idempotent")
    assert told(session).idempotent
    with pytest.raises(UsageError, match="no name of a header"):
        run(session, "configure", "adder", "--sticky", "not one")
    assert told(session).sticky == "X-User"


# --- which are shown -----------------------------------------------------------------------------


def test_they_are_shown_the_newest_first(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    page = run(session, "samples", "adder")
    assert (list(page["samples"]), page["found"], page["next"]) == ([], 0, None)
    failed = sample(2, status=502, answer=None, request=b"\x00" * 2000)
    keep(session, sample(1), failed, sample(3, version="2"))
    page = run(session, "samples", "adder")
    assert [each["status"] for each in page["samples"]] == [200, 502, 200]
    assert page["samples"][0]["request"] == {"inputs": [[3, 1]]}
    assert [e["status"] for e in run(session, "samples", "adder", "--errors")["samples"]] == [502]
    assert run(session, "samples", "adder", "--limit", "1")["next"] is not None
    assert run(session, "samples", "adder", "--since", "1h")["found"] == 3
    assert run(session, "samples", "adder", "--since", "2100-01-01")["found"] == 0
    with pytest.raises(NotFound, match="version 7"):
        run(session, "samples", "adder", "--version", "7")
    with pytest.raises(UsageError, match="no time"):
        run(session, "samples", "adder", "--since", "soon")
    context = Context(session=session, surface=TerminalSurface(session))
    invoke(endpoint, ["samples", "adder", "--limit", "2"], name="endpoint", context=context)
    shown = capsys.readouterr().out
    assert '{"inputs": [[3, 1]]}' in shown
    assert "2,000 bytes" in shown
    assert "the newest 2 of 3" in shown


# --- as recorded calls ---------------------------------------------------------------------------


def kept(**told: Any) -> EndpointSample:
    values: dict[str, Any] = {
        "id": "1",
        "at": 0.0,
        "version": 1,
        "replica": "j",
        "path": "/predict",
        "status": 200,
        "milliseconds": 1.0,
        "request": {"inputs": [[1]]},
        "answer": {"outputs": [[2]], "version": "1"},
    }
    return EndpointSample(**(values | told))


def test_where_none_is_kept_it_is_said_how_some_are(session: Session, tmp_path: Path) -> None:
    line = ("samples", "adder", "--out", str(tmp_path / "calls.jsonl"))
    run(session, "sampling", "adder", "--rate", "0")
    with pytest.raises(UsageError, match="can be a recorded call") as off:
        run(session, *line)
    assert "endpoint sampling adder --rate" in off.value.hint
    run(session, "sampling", "adder", "--rate", "1")
    with pytest.raises(UsageError, match="can be a recorded call") as on:
        run(session, *line)
    assert on.value.hint == "--since goes further back"


def test_good_answers_are_calls() -> None:
    instances = kept(
        path="/invocations", request={"instances": [[5]]}, answer={"predictions": [[6]]}
    )
    made = calls_of([kept(), instances, kept()])
    assert [json.loads(line) for line in made.lines] == [
        {"inputs": [[1]], "outputs": [[2]]},
        {"inputs": [[5]], "outputs": [[6]]},
    ]
    assert made.skipped == {"the same once more": 1}


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"status": 500}, "answered with 500"),
        ({"hidden": True}, "something was left out of it"),
        ({"path": "/v2/models/a/infer"}, "not by /predict or /invocations"),
        ({"request": None}, "its bodies were not kept"),
        ({"answer": None}, "its bodies were not kept"),
        ({"request": {"x": 1}}, "neither inputs nor instances"),
        ({"answer": {"error": "no"}}, "neither inputs nor instances"),
    ],
)
def test_others_are_none(told: dict[str, Any], why: str) -> None:
    made = calls_of([kept(**told)])
    assert (made.lines, made.skipped) == ((), {why: 1})


def test_they_are_written_for_their_owner(session: Session, tmp_path: Path) -> None:
    out = tmp_path / "calls.jsonl"
    with pytest.raises(UsageError, match="none is kept"):
        run(session, "samples", "adder", "--out", str(out))
    keep(session, *(sample(number) for number in range(30)), sample(31, status=503))
    said = run(session, "samples", "adder", "--out", str(out))
    assert said == {"file": str(out), "calls": 30, "skipped": {"answered with 503": 1}}
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert lines[0] == {"inputs": [[0, 1]], "outputs": [[1]]}
    assert len(lines) == 30
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    with pytest.raises(UsageError, match="cannot be written"):
        run(session, "samples", "adder", "--out", str(tmp_path / "no" / "calls.jsonl"))
    # As a package's own calls they are asked before it is deployed.
    folder = tmp_path / "m"
    (folder / "package.json").write_text(json.dumps({"tolerance": [1e-5, 1e-6]}))
    (folder / "calls.jsonl").write_text(out.read_text())
    run(session, "update", "adder", str(folder), "--detach")
    wrong = {"inputs": [[0, 1]], "outputs": [[7]]}
    (folder / "calls.jsonl").write_text(json.dumps(wrong) + "\n")
    run(session, "rollback", "adder", "--detach")
    with pytest.raises(UsageError, match="is not what the notebook has"):
        run(session, "update", "adder", str(folder), "--detach")


# --- what requests cost --------------------------------------------------------------------------


def test_what_requests_cost_is_shown(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    def line(*words: str) -> str:
        context = Context(session=session, surface=TerminalSurface(session))
        invoke(cost, list(words), name="cost", context=context)
        return capsys.readouterr().out

    shown = line("endpoints")
    assert "adder" in shown
    assert "n/a" in shown
    assert "nothing is known of anything that it was given" in shown
    with pytest.raises(UsageError, match="cannot be"):
        line("endpoints", "--window", "30d")
    with pytest.raises(NotFound, match="other"):
        line("endpoints", "other")
    assert run(session, "show", "adder")["cost"]["all"]["per_thousand"] is None
