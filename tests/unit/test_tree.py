from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete

from jupyter_aiinfra.commands import poolverbs, tree
from jupyter_aiinfra.commands.context import Context, Live
from jupyter_aiinfra.commands.tree import invoke
from jupyter_aiinfra.errors import (
    Conflict,
    JobNotFound,
    PoolInUse,
    PoolNotFound,
    UnknownOption,
    UsageError,
)
from jupyter_aiinfra.model import LAUNCHER, Desired, Gpu, IdleRule, Job, JobState, Node
from jupyter_aiinfra.pools import KINDS
from jupyter_aiinfra.testing import FakeCluster, FakePool
from tests.support.engines import EMPTY, POOL, House, a_spec, orphaned


class Heard:
    """A surface that notes what it is given."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.tables: list[tuple[Sequence[str], Sequence[Sequence[str]], str]] = []
        self.values: list[Any] = []
        self.logged = b""
        self.hidden: list[str] = []
        self.watched: list[tuple[str, bool]] = []
        self.questions: list[str] = []
        self.answers: list[bool] = []
        self.lines: list[str] = []

    def text(self, text: str) -> None:
        self.texts.append(text)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
        self.tables.append((columns, rows, empty))

    def value(self, value: Any) -> None:
        self.values.append(value)

    def live(self) -> AbstractContextManager[Live]:
        raise AssertionError("nothing here is drawn again")

    def log(self, data: bytes) -> None:
        self.logged += data

    def ask(self, question: str) -> bool | None:
        self.questions.append(question)
        return self.answers.pop(0) if self.answers else None

    def progress(self, text: str) -> None:
        self.lines.append(text)

    def hide(self, values: Iterable[str]) -> None:
        self.hidden += values

    def watch(self, job: Job, *, fetch: bool) -> Job:
        self.watched.append((job.id, fetch))
        return job


class Desk:
    """Types commands at a house and hears what they say."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.cluster = house.cluster
        self.session = house.session()
        self.engine = self.session.engine
        self.surface = Heard()
        self.answers: list[bool] = []

    def __call__(self, line: str) -> Any:
        self.surface.__init__()  # type: ignore[misc] # what was heard before is forgotten
        self.surface.answers, self.answers = self.answers, []
        context = Context(session=self.session, surface=self.surface)
        group, *words = line.split()
        command = {"pool": tree.pool, "jobs": tree.jobs}[group]
        result = invoke(command, words, name=f"%{group}", context=context)
        self.surface.values = json.loads(json.dumps(self.surface.values))
        return result

    @property
    def said(self) -> str:
        return "\n".join(self.surface.texts)

    @property
    def value(self) -> Any:
        (value,) = self.surface.values
        return value

    def launch(self, **changes: Any) -> Job:
        return self.session.run(self.engine.launch(POOL, a_spec(**changes), EMPTY))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    house = House(tmp_path / "home")
    yield Desk(house)
    house.close()


class Kind(FakePool):
    options_type = type("Options", (), {"__dataclass_fields__": {}})


@pytest.fixture
def fake_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poolverbs, "pool_class", lambda _kind: Kind)


# pools


@pytest.mark.usefixtures("fake_kind")
def test_pools_are_attached_listed_shown_and_detached(desk: Desk) -> None:
    desk("pool attach gpus --kind fake")
    assert desk.said.startswith("attached\npool gpus: fake\n  price   unknown: ")
    assert "  node fake0" in desk.said
    assert desk.value["record"]["name"] == "gpus"
    desk("pool list")
    ((_, rows, _),) = desk.surface.tables
    assert [row[0] for row in rows] == [POOL, "gpus"]
    assert len(desk.value) == 2
    desk("pool show gpus")
    assert "node fake0" in desk.said
    desk("pool detach gpus")
    assert (desk.said, desk.value) == (
        "detached gpus; its jobs and files stay as they are",
        {"detached": "gpus"},
    )
    with pytest.raises(PoolNotFound):
        desk("pool show gpus")


@pytest.mark.parametrize("line", ["pool", "jobs", "jobs --active", "jobs --limit 3"])
def test_a_group_without_a_verb_lists(desk: Desk, line: str) -> None:
    desk(line)
    assert len(desk.surface.tables) == 1


def test_a_pool_in_use_is_detached_by_force_only(desk: Desk) -> None:
    desk.launch()
    with pytest.raises(PoolInUse):
        desk(f"pool detach {POOL}")
    desk(f"pool detach {POOL} --force")
    desk("pool list")
    assert desk.surface.tables[0][1] == []
    assert "%pool attach here --kind local" in desk.surface.tables[0][2]


def test_each_kind_declares_its_own_options(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk("pool attach --help")
    assert "--max-procs" in capsys.readouterr().out
    with pytest.raises(UnknownOption, match="--max-proc") as caught:
        desk("pool attach here --kind=local --max-proc 3")
    assert caught.value.hint == "did you mean --max-procs?"
    with pytest.raises(UsageError, match="no pool kind 'locl'"):
        desk("pool attach here --kind locl")


@pytest.mark.usefixtures("fake_kind")
def test_options_that_were_not_given_are_not_recorded(desk: Desk) -> None:
    desk("pool attach gpus --kind=fake")
    assert desk.engine.store.get_pool("gpus").options == {}
    assert desk.engine.store.idle_rules() == {}


@pytest.mark.usefixtures("fake_kind")
def test_a_pool_is_attached_with_what_is_done_about_idle_gpus(desk: Desk) -> None:
    with pytest.raises(UsageError, match="--idle-stop 5s"):
        desk("pool attach gpus --kind fake --idle-stop 5s")
    assert [pool.name for pool in desk.engine.store.list_pools()] == [POOL]
    desk("pool attach gpus --kind fake --idle-stop 30m")
    assert desk.said.endswith("jobs that do not use their GPUs: stopped after 30 min 00 s")
    assert desk.engine.store.idle_rules() == {"gpus": IdleRule(stop_seconds=1800.0)}
    assert desk.engine.store.get_pool("gpus").options == {}


def test_reconcile_tells_what_it_found(desk: Desk) -> None:
    desk(f"pool reconcile {POOL}")
    assert desk.said == f"{POOL}: the record is true"
    reached, never, unknown = orphaned(), orphaned(), orphaned()
    for job in (reached, never):
        desk.engine.store.add_job(job)
    pool = desk.engine.pool(POOL)
    for job in (reached, unknown):
        desk.session.run(pool.submit(desk.session.run(pool.plan(job)), EMPTY))
    desk(f"pool reconcile {POOL}")
    words = [line.split()[0] for line in desk.surface.texts[0].splitlines()]
    assert words == ["bound", "failed", "orphan"]
    told = {key: desk.value[key] for key in ("bound", "failed", "orphans")}
    assert told == {"bound": [reached.id], "failed": [never.id], "orphans": [unknown.id]}


def test_kinds_are_listed(desk: Desk) -> None:
    desk("pool kinds")
    assert set(KINDS) <= set(desk.said.splitlines())
    assert desk.value == desk.said.splitlines()


# jobs


def test_jobs_are_listed_as_they_are_now(desk: Desk) -> None:
    desk("jobs")
    assert desk.surface.tables[0][1:] == ([], "no jobs yet")
    first, second = desk.launch(), desk.launch()
    desk.cluster.end(first.id, JobState.SUCCEEDED)
    desk("jobs list")
    states = {row[0]: row[3] for row in desk.surface.tables[0][1]}
    assert states == {first.id: "succeeded", second.id: "starting"}
    desk("jobs list --active")
    assert [job["id"] for job in desk.value] == [second.id]
    desk("jobs list --limit 1")
    assert len(desk.value) == 1
    desk("jobs list --pool other")
    assert desk.value == []
    assert desk.surface.tables[0][2] == "no jobs of a pool named 'other'"
    desk.cluster.end(second.id, JobState.SUCCEEDED)
    desk("jobs list --active")
    assert desk.surface.tables[0][1:] == ([], "no active jobs")


def test_jobs_of_a_pool_that_does_not_answer_are_listed_as_last_seen(desk: Desk) -> None:
    job = desk.launch()
    desk.cluster.reachable = False
    desk("jobs")
    assert desk.said == f"as last seen, since the pool does not answer: {job.id}"
    desk(f"jobs show {job.id}")
    assert desk.surface.texts[0] == f"pool {POOL} does not answer; shown as last seen"
    assert desk.value["state"] == "starting"


def test_jobs_of_a_detached_pool_are_listed_as_last_seen(desk: Desk) -> None:
    job = desk.launch()
    desk(f"pool detach {POOL} --force")
    desk("jobs")
    assert job.id in desk.said
    desk(f"jobs show {job.id}")
    assert desk.surface.texts[0] == f"no pool named '{POOL}'; shown as last seen"


def test_a_job_is_shown_by_a_beginning_of_its_id(desk: Desk) -> None:
    job = desk.launch()
    desk(f"jobs show {job.id[:11]}")
    assert desk.said.startswith(f"job {job.id}: digits, starting")
    with pytest.raises(JobNotFound, match="'zzz'"):
        desk("jobs show zzz")


def test_logs_are_printed_from_an_offset(desk: Desk) -> None:
    job = desk.launch(procs=2)
    desk.cluster.write(job.id, b"hello\n", rank=1)
    desk.cluster.write(job.id, b"launched\n", rank=LAUNCHER)
    desk(f"jobs logs {job.id} --rank 1 --offset 2")
    assert desk.surface.logged == b"llo\n"
    assert desk.value == {"job": job.id, "rank": 1, "offset": 2, "end": 6}
    desk(f"jobs logs {job.id} --launcher -f")
    assert desk.surface.logged == b"launched\n"
    desk(f"jobs logs {job.id}")
    assert desk.value["end"] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--rank 2", "--rank 2: job .* has ranks 0 to 1"),
        ("--rank -1", "--rank -1"),
        ("--offset -1", "-1 is not in the range"),
        ("--rank one", "'one' is not a valid int"),
    ],
)
def test_logs_of_what_is_not_there(desk: Desk, options: str, said: str) -> None:
    job = desk.launch(procs=2)
    with pytest.raises(UsageError, match=said):
        desk(f"jobs logs {job.id} {options}")


def test_secrets_are_hidden_in_logs(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
    monkeypatch.delenv("OTHER_TOKEN", raising=False)
    job = desk.launch(secrets=("HF_TOKEN", "OTHER_TOKEN"))
    desk.cluster.write(job.id, b"token hf_very_secret\n")
    desk(f"jobs logs {job.id}")
    assert b"hf_very_secret" not in desk.surface.logged
    assert desk.surface.logged.startswith(b"token ")
    desk(f"jobs attach {job.id}")
    assert desk.surface.hidden == ["hf_very_secret"]


def test_attach_follows_and_fetches_unless_told_not_to(desk: Desk) -> None:
    job = desk.launch()
    assert desk(f"jobs attach {job.id}").id == job.id
    assert desk.surface.watched == [(job.id, True)]
    desk(f"jobs attach {job.id} --no-fetch")
    assert desk.surface.watched == [(job.id, False)]


def test_cancel_returns_at_once(desk: Desk) -> None:
    job = desk.launch()
    desk(f"jobs cancel {job.id} --grace 2.5s")
    assert desk.said == f"job {job.id} is told to end"
    assert desk.value["desired"] == Desired.STOP.value
    desk.cluster.end(job.id, JobState.CANCELLED)
    desk("jobs")
    desk(f"jobs cancel {job.id}")
    assert desk.said == f"job {job.id} was over already: cancelled"
    with pytest.raises(UsageError, match=r"--grace '-1': expected a length of time"):
        desk(f"jobs cancel {job.id} --grace -1")


def test_rerun_hands_on_the_secrets_and_watches(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
    job = desk.launch(secrets=("HF_TOKEN",))
    again = desk(f"jobs rerun {job.id}")
    assert desk.said == f"job {again.id} runs what {job.id} ran"
    assert desk.surface.watched == [(again.id, True)]
    assert desk.surface.hidden == ["hf_very_secret"]
    assert desk.cluster.jobs[again.id].secrets == {"HF_TOKEN": "hf_very_secret"}
    desk(f"jobs rerun {job.id} --detach")
    assert desk.surface.watched == []
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UsageError, match="secret HF_TOKEN is not set"):
        desk(f"jobs rerun {job.id}")


def test_remove_forgets_what_is_over(desk: Desk) -> None:
    job = desk.launch()
    with pytest.raises(Conflict, match="is starting"):
        desk(f"jobs remove {job.id}")
    desk.cluster.end(job.id, JobState.FAILED)
    desk(f"jobs remove {job.id[:11]}")
    assert (desk.said, desk.value) == (f"removed {job.id} and its files", {"removed": job.id})


# words that cannot be understood


@pytest.mark.parametrize(
    ("line", "said", "hint"),
    [
        ("pool lst", "No such command 'lst'", "%pool --help"),
        ("pool detach", "Missing argument 'NAME'", "%pool detach --help"),
        ("jobs show a b", "unexpected extra argument", "%jobs show --help"),
        ("jobs list --limit 0", "0 is not in the range", "%jobs list --help"),
        ("jobs list --activ", "unknown option --activ", "did you mean --active?"),
    ],
)
def test_what_click_refuses_is_an_error_of_ours(
    desk: Desk, line: str, said: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        desk(line)
    assert said in caught.value.message
    assert hint in caught.value.hint


def test_an_abort_is_an_interrupt(desk: Desk) -> None:
    @click.command()
    def stop() -> None:
        raise click.Abort

    with pytest.raises(KeyboardInterrupt):
        invoke(stop, [], name="stop", context=Context(session=desk.session, surface=desk.surface))


# completion


def completed(group: click.Command, *words: str) -> list[str]:
    complete = ShellComplete(group, {}, "tested", "_TESTED_COMPLETE")
    return [item.value for item in complete.get_completions(list(words[:-1]), words[-1])]


def test_names_and_ids_are_completed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    job = desk.launch()
    monkeypatch.setenv("JUPYTER_AIINFRA_HOME", str(desk.house.settings.home))
    assert completed(tree.pool, "show", POOL[:2]) == [POOL]
    assert completed(tree.pool, "show", "x") == []
    assert completed(tree.jobs, "show", job.id[:3]) == [job.id]


def test_a_store_that_cannot_be_opened_completes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "aiinfra.db").write_text("this is no database, and never was one")
    monkeypatch.setenv("JUPYTER_AIINFRA_HOME", str(tmp_path))
    assert completed(tree.pool, "show", "") == []


def test_a_queued_job_in_the_list_and_its_cancel(tmp_path: Path) -> None:
    gpu = Gpu(uuid="g0", name="H100", index=0)
    cluster = FakeCluster([Node(name="box", address="10.0.0.1", gpus=(gpu,))], leased=True)
    house = House(tmp_path / "queue", cluster)
    desk = Desk(house)
    first, second = desk.launch(gpus=1), desk.launch(gpus=1)
    desk("jobs")
    assert [row[3] for row in desk.surface.tables[0][1]] == ["queued (1st)", "starting"]
    assert desk.value[0]["seen"]["reason"] == "waits for 1 GPU; 1st in the queue"
    desk(f"jobs cancel {second.id}")
    assert desk.said == f"job {second.id} is cancelled: it was still waiting for GPUs"
    desk(f"jobs cancel {second.id}")
    assert desk.said == f"job {second.id} was over already: cancelled"
    desk(f"jobs rerun {first.id} --detach")
    assert "is queued on fake: waits for 1 GPU; 1st in the queue" in desk.said
    desk(f"pool show {POOL}")
    assert f"leased to {first.id}" in desk.said
    assert [lease["job"] for lease in desk.value["leases"]] == [first.id]
    house.close()
