"""The companion that keeps an MLflow run around a job: ``track.py RUN_DIR [meter]``.

The supervisor starts it beside the job, in the job's own Python, with a pipe as standard input that
ends when the job does (or when the supervisor is killed). It makes the run, says which one in
``track.run.json`` so that rank 0 can join it, logs what describes the job and the machine's system
metrics under MLflow's own names, and at the end sets the outcome the supervisor recorded.

It may be run again on the same run directory at any time and completes what is missing. A tracking
server that is away holds nothing up: what should be logged waits in memory, within bounds.

Of a job on several nodes it runs so beside the first one. On the others it is told to be a
``meter``, which reads the node and needs no MLflow; see ``meter.py``.

Python 3.8 or newer, standard library and neighbours; MLflow is needed. ``track.json`` and
``track.run.json`` are described in ``docs/run-directory.md``.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import importlib
import importlib.metadata
import logging
import os
import re
import select
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Iterator, NamedTuple, Sequence
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import meter, supervise
else:  # its neighbours in the bundle
    import supervise

    # In a folder that ranks do not look into: there are packages with such names.
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "readings"))
    import meter

    del sys.path[0]

__all__ = [
    "ARTIFACT_BYTES",
    "BATCH_METRICS",
    "BATCH_PARAMS",
    "EXPERIMENT",
    "FINAL",
    "FOLDER",
    "MLFLOW_ENVIRONMENT",
    "NICENESS",
    "PERMANENT",
    "PREFIX",
    "SPOOLED_SAMPLES",
    "Companion",
    "Cost",
    "Outcome",
    "Pace",
    "Point",
    "Refused",
    "Sender",
    "Spool",
    "Store",
    "Vigil",
    "alone",
    "countdown",
    "cut",
    "environment_lock",
    "insist",
    "is_permanent",
    "log",
    "main",
    "make_cost",
    "only_one",
    "outcome",
    "safe_key",
    "sentence",
    "sqlite_path",
    "system_metrics_wanted",
]

log = logging.getLogger("aiinfra.track")

EXPERIMENT = "Default"  # MLflow's own name for where runs go that name no experiment
FOLDER = "aiinfra"  # of the run's artifacts: whatever the user's code logs cannot collide with ours
# Of our parameters: MLflow refuses a second value for one, and training code that logs its own
# options (`mixed_precision`, say) must not fail for a name of ours.
PREFIX = "aiinfra."
ARTIFACT_BYTES = 8 << 20
BATCH_METRICS = 1000
BATCH_PARAMS = 100
SPOOLED_SAMPLES = 4000
NICENESS = 10
FINAL = {"succeeded": "FINISHED", "failed": "FAILED", "lost": "FAILED", "cancelled": "KILLED"}

# Our own retries are the ones that count; without these a call to a dead server takes minutes.
MLFLOW_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "GIT_PYTHON_REFRESH": "quiet",
}
# Trying again cannot mend these. All others (no answer, a locked database, tables that another
# process is making just now) may pass.
PERMANENT = frozenset(
    {
        "BAD_REQUEST",
        "CUSTOMER_UNAUTHORIZED",
        "ENDPOINT_NOT_FOUND",
        "INVALID_PARAMETER_VALUE",
        "INVALID_STATE",
        "NOT_FOUND",
        "PERMISSION_DENIED",
        "RESOURCE_DOES_NOT_EXIST",
        "UNAUTHENTICATED",
    }
)


class Pace(NamedTuple):
    """How often, and how long at most, in seconds."""

    sample: float = 10.0
    poll: float = 2.0
    open: float = 10.0
    """How long making the run is tried: rank 0 waits for it."""
    answer: float = 45.0
    """When rank 0 is told to go on without, should a single call to MLflow hang."""
    finish: float = 600.0
    drain: float = 60.0
    first_delay: float = 0.5
    last_delay: float = 30.0


class Point(NamedTuple):
    """One value of one metric."""

    key: str
    value: float
    at: float
    step: int


class Refused(Exception):
    """The run cannot be made; the message is one sentence for the user."""


# --- MLflow --------------------------------------------------------------------------------------


class Store:
    """The few things we ask of MLflow. Nothing in here tries twice."""

    def __init__(self, uri: str) -> None:
        for name, value in MLFLOW_ENVIRONMENT.items():
            os.environ[name] = value
        database = sqlite_path(uri)
        if database is not None:
            # MLflow puts the artifacts of a database without a server below the current folder.
            folder = os.path.dirname(database)
            os.makedirs(folder, mode=0o700, exist_ok=True)
            os.chdir(folder)
        try:
            mlflow = importlib.import_module("mlflow")
            self._entities = importlib.import_module("mlflow.entities")
            limits = importlib.import_module("mlflow.utils.validation")
        except ImportError as error:
            raise Refused(
                f"mlflow cannot be imported in {sys.executable} ({error}); "
                "pip install 'mlflow>=3.17,<4' there"
            ) from error
        with alone(database):
            self._client = mlflow.MlflowClient(tracking_uri=uri)
            self._client.get_experiment_by_name(EXPERIMENT)  # older ones connect at the first call
        self._param_length = int(getattr(limits, "MAX_PARAM_VAL_LENGTH", 500))
        self._tag_length = int(getattr(limits, "MAX_TAG_VAL_LENGTH", 5000))

    def experiment(self, experiment_id: str | None, name: str | None) -> str:
        """Return the id of an active experiment; one that has a name only is made if need be."""
        if experiment_id is not None:
            found = self._client.get_experiment(experiment_id)
        else:
            found = self._client.get_experiment_by_name(name or EXPERIMENT)
            if found is None:
                try:
                    return str(self._client.create_experiment(name or EXPERIMENT))
                except Exception as error:
                    if getattr(error, "error_code", None) != "RESOURCE_ALREADY_EXISTS":
                        raise
                # Another job was faster.
                found = self._client.get_experiment_by_name(name or EXPERIMENT)
        if found.lifecycle_stage != "active":
            raise Refused(
                f"the MLflow experiment {found.name!r} was deleted; restore it or name another one"
            )
        return str(found.experiment_id)

    def find(self, experiment_id: str, job: str) -> str | None:
        """Return the run that carries our tag for `job`, or ``None``."""
        runs = self._client.search_runs(
            [experiment_id], filter_string=f"tags.`aiinfra.job` = '{job}'", max_results=1
        )
        return str(runs[0].info.run_id) if runs else None

    def create(self, experiment_id: str, name: str | None, tags: dict[str, str]) -> str:
        """Make a run in state RUNNING and return its id."""
        tags = {key: cut(value, self._tag_length) for key, value in tags.items()}
        made = self._client.create_run(experiment_id, tags=tags, run_name=name)
        return str(made.info.run_id)

    def known(self, run_id: str) -> tuple[str, dict[str, str], dict[str, str]]:
        """Return a run's status, parameters and tags."""
        run = self._client.get_run(run_id)
        return str(run.info.status), dict(run.data.params), dict(run.data.tags)

    def log_params(self, run_id: str, params: dict[str, str]) -> None:
        """Log parameters, with names and values as MLflow takes them."""
        made = [
            self._entities.Param(safe_key(key), cut(value, self._param_length))
            for key, value in sorted(params.items())
        ]
        for start in range(0, len(made), BATCH_PARAMS):
            self._client.log_batch(run_id, params=made[start : start + BATCH_PARAMS])

    def log_points(
        self, run_id: str, points: Sequence[Point], tags: dict[str, str] | None = None
    ) -> None:
        """Log at most `BATCH_METRICS` values, and tags, in one request."""
        metrics = [
            self._entities.Metric(point.key, point.value, int(point.at * 1000), point.step)
            for point in points
        ]
        made = [
            self._entities.RunTag(key, cut(value, self._tag_length))
            for key, value in sorted((tags or {}).items())
        ]
        self._client.log_batch(run_id, metrics=metrics, tags=made)

    def artifacts(self, run_id: str) -> set[str]:
        """Return the paths of what is logged already, in our folder, without that folder."""
        found: set[str] = set()
        folders = [FOLDER]
        while folders:
            for item in self._client.list_artifacts(run_id, folders.pop()):
                if item.is_dir:
                    folders.append(item.path)
                else:
                    found.add(item.path[len(FOLDER) + 1 :])
        return found

    def log_file(self, run_id: str, path: str, name: str) -> None:
        """Log the file at `path` as `name`, below our folder."""
        self._client.log_artifact(run_id, path, os.path.dirname(os.path.join(FOLDER, name)))

    def log_text(self, run_id: str, text: str, name: str) -> None:
        """Log `text` as the file `name`, below our folder."""
        self._client.log_text(run_id, text, f"{FOLDER}/{name}")

    def finish(self, run_id: str, status: str, ended_at: float) -> None:
        """Set a run's final status, whatever it was before."""
        self._client.set_terminated(run_id, status=status, end_time=int(ended_at * 1000))


def sqlite_path(uri: str) -> str | None:
    """Return the absolute path of the SQLite database of `uri`, ``None`` for anything else."""
    parts = urlsplit(uri)
    if not parts.scheme.startswith("sqlite"):
        return None
    return os.path.abspath(unquote(parts.path[1:]))


@contextlib.contextmanager
def alone(database: str | None) -> Iterator[None]:
    """Let one job at a time open a SQLite database.

    The first one makes MLflow's tables there; two that do so at once leave neither a whole set.
    """
    if database is None:
        yield
        return
    folder, name = os.path.split(database)
    descriptor = os.open(os.path.join(folder, f".{name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def safe_key(key: str) -> str:
    """Return `key` with what MLflow does not take in a name replaced, and not too long."""
    return re.sub(r"[^/\w.\- :]", "_", key)[:250]


def cut(value: str, limit: int) -> str:
    """Return `value`, cut to `limit` characters with a note of how many there were."""
    if len(value) <= limit:
        return value
    note = f" … (cut from {len(value)} characters)"
    return value[: limit - len(note)] + note


def is_permanent(error: BaseException) -> bool:
    """Whether trying again cannot help."""
    if isinstance(error, (Refused, ImportError, FileNotFoundError, PermissionError)):
        return True
    return getattr(error, "error_code", None) in PERMANENT


def sentence(uri: str, error: BaseException) -> str:
    """Return why MLflow cannot be used, in one line that a user can act on."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, Refused):
        return text
    for sign, words in (
        ("Connection refused", "nothing answers there; is the server running?"),
        ("Name or service not known", "the host name is unknown"),
        ("Failed to resolve", "the host name is unknown"),
        ("timed out", "no answer in time"),
        ("error code 401", "it wants a user name and password (MLFLOW_TRACKING_USERNAME, …)"),
        ("error code 403", "it refuses these credentials"),
    ):
        if sign in text:
            return f"MLflow at {uri}: {words}"
    return f"MLflow at {uri}: {cut(text, 300)}"


def insist(
    work: Callable[[], Any],
    what: str,
    *,
    pace: Pace,
    seconds: Callable[[], float],
    wait: Callable[[float], Any] = time.sleep,
) -> Any:
    """Return what `work` returns, however often it has to be tried; raise its last error.

    `seconds` tells how much longer trying may go on, `wait` sleeps up to that many seconds.
    An error that cannot pass is raised at once.
    """
    delay = pace.first_delay
    while True:
        try:
            return work()
        except Exception as error:
            left = seconds()
            if is_permanent(error) or left <= 0:
                raise
            log.warning("%s: %s; trying again", what, cut(" ".join(str(error).split()), 300))
        wait(min(delay, left))
        delay = min(2 * delay, pace.last_delay)


def countdown(seconds: float) -> Callable[[], float]:
    """Return a function that tells how much of `seconds` is left."""
    end = time.monotonic() + seconds
    return lambda: end - time.monotonic()


# --- sending -------------------------------------------------------------------------------------


class Spool:
    """Points that wait to be sent, in order and bounded.

    When full, every other sample goes: a long outage costs resolution, not the beginning.
    """

    def __init__(self, samples: int = SPOOLED_SAMPLES) -> None:
        self._limit = samples
        self._samples: list[list[Point]] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._samples)

    def put(self, sample: list[Point]) -> None:
        """Add a sample; never waits."""
        with self._lock:
            self._samples.append(sample)
            if len(self._samples) > self._limit:
                log.warning("MLflow takes nothing for long: every other waiting sample is dropped")
                self._samples = self._samples[::2]

    def first(self) -> list[list[Point]]:
        """Return the oldest samples that fit one request; they stay until `drop`."""
        taken: list[list[Point]] = []
        size = 0
        with self._lock:
            for sample in self._samples:
                size += len(sample)
                if taken and size > BATCH_METRICS:
                    break
                taken.append(sample)
        return taken

    def drop(self, sent: list[list[Point]]) -> None:
        """Forget samples that `first` gave out."""
        gone = {id(sample) for sample in sent}
        with self._lock:
            self._samples = [sample for sample in self._samples if id(sample) not in gone]


class Sender(threading.Thread):
    """Sends, in a thread that may be held up: first its task, then what comes into the spool.

    Parameters
    ----------
    send
        Sends one batch of points.
    task
        What to do first, after its name; if it fails for good that is logged, and it is left.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Point]], None],
        *,
        task: tuple[str, Callable[[], None]],
        pace: Pace,
    ) -> None:
        super().__init__(name="aiinfra-sender", daemon=True)
        self.spool = Spool()
        self._send = send
        self._task = task
        self._pace = pace
        self._failed = False
        self._news = threading.Event()
        self._closing = threading.Event()
        self._left: Callable[[], float] = lambda: float("inf")

    def put(self, sample: list[Point]) -> None:
        """Take a sample to be sent; never waits."""
        self.spool.put(sample)
        self._news.set()

    def close(self) -> bool:
        """Send what is left, for as long as the pace allows; return whether all went out."""
        self._left = countdown(self._pace.drain)
        self._closing.set()
        self._news.set()
        self.join(self._pace.drain + 1.0)
        return not self.is_alive() and not self._failed

    def run(self) -> None:
        """Send until closed and empty."""
        self._try(*self._task)
        while True:
            self._news.wait()
            self._news.clear()
            while len(self.spool) and self._left() > 0:
                batch = self.spool.first()
                points = [point for sample in batch for point in sample]
                self._try("system metrics", functools.partial(self._send, points))
                self.spool.drop(batch)
            if self._closing.is_set():
                return

    def _try(self, what: str, work: Callable[[], None]) -> None:
        try:
            insist(
                work,
                what,
                pace=self._pace,
                seconds=self._seconds_left,
                wait=self._pause,
            )
        except Exception:  # one of the background loops: say it, and go on with the next thing
            self._failed = True
            log.exception("%s could not be logged", what)

    def _seconds_left(self) -> float:
        return self._left()  # which is another function once we are told to close

    def _pause(self, seconds: float) -> None:
        if self._closing.is_set():
            time.sleep(seconds)
        else:
            self._closing.wait(seconds)


# --- the job -------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """How the job ended, as MLflow should know it."""

    state: str
    reason: str | None
    ended_at: float
    duration_seconds: float | None
    max_memory_bytes: int | None

    @property
    def status(self) -> str:
        """MLflow's word for it."""
        return FINAL[self.state]

    @property
    def tags(self) -> dict[str, str]:
        """The tags that say it."""
        reason = {"aiinfra.reason": self.reason} if self.reason else {}
        return {"aiinfra.state": self.state, **reason}

    @property
    def points(self) -> list[Point]:
        """The figures known only at the end."""
        figures = {
            "aiinfra/duration_seconds": self.duration_seconds,
            "aiinfra/max_memory_bytes": self.max_memory_bytes,
        }
        return [
            Point(key, float(value), self.ended_at, 0)
            for key, value in figures.items()
            if value is not None
        ]


def outcome(status: dict[str, Any], *, now: float) -> Outcome | None:
    """Return how the job ended, from what ``supervise.status`` knows; ``None`` while it runs."""
    state = status["state"]
    reason = status.get("reason")
    if state == "absent":
        state, reason = "lost", "its run directory was removed"
    if state not in FINAL:
        return None
    started, ended = status.get("started_at"), status.get("ended_at") or now
    peaks = [rank.get("max_memory_bytes") for rank in status.get("ranks", [])]
    known = [peak for peak in peaks if peak is not None]
    return Outcome(
        state=state,
        reason=reason,
        ended_at=ended,
        duration_seconds=ended - started if started is not None else None,
        max_memory_bytes=max(known) if known else None,
    )


class Cost:
    """What the job has cost since its run directory was made, at the price of its launch."""

    def __init__(self, hourly: float, currency: str, since: float) -> None:
        self.key = f"aiinfra/cost_{currency.lower()}"
        self._hourly = hourly
        self._since = since

    def read(self, now: float) -> float:
        """Return the cost up to a moment."""
        return self._hourly * max(0.0, now - self._since) / 3600


def make_cost(request: dict[str, Any], since: float) -> Cost | None:
    """Return what tells it as the launch asked for it; without a price there is nothing."""
    hourly, currency = request.get("hourly"), request.get("currency")
    if not hourly or not currency:
        return None
    return Cost(float(hourly), str(currency), since)


class Vigil:
    """Knows when the job is over: the supervisor's pipe ends, or its record appears.

    The pipe also ends when the supervisor is killed; the job may run on then, and what the node
    knows of it is asked again and again until it is over.
    """

    def __init__(self, run: Any, stdin: int) -> None:
        self._run = run
        self._stdin: int | None = stdin

    def wait(self, seconds: float) -> dict[str, Any] | None:
        """Wait up to `seconds`; return what is known of a job that may be over, else ``None``."""
        if self._stdin is None:
            time.sleep(seconds)
        elif self._ended(self._stdin, seconds):
            self._stdin = None
        if self._stdin is not None and not os.path.exists(self._run.path("exit.json")):
            return None
        return dict(supervise.status(self._run.folder))

    def _ended(self, stdin: int, seconds: float) -> bool:
        try:
            ready, _, _ = select.select([stdin], [], [], seconds)
            return bool(ready) and not os.read(stdin, 4096)
        except (OSError, ValueError):
            return True  # there is no pipe: somebody runs us by hand


# --- the companion -------------------------------------------------------------------------------


class Companion:
    """Keeps one MLflow run beside one job."""

    def __init__(
        self,
        run: Any,
        request: dict[str, Any],
        *,
        pace: Pace,
        store: Callable[[str], Any] = Store,
        cost: Cost | None = None,
    ) -> None:
        self.cost = cost
        self.run = run
        self.request = request
        self.pace = pace
        self.uri = str(request["uri"])
        self.job = str(request["job"])
        self.begun = time.time()
        self.run_id = ""
        self._make_store = store
        self._store: Any = None
        self._found = False  # rather than made: some of what we log may be there
        self._files_begun = False
        self._answer = threading.Lock()
        self._answered = False
        self._heard: dict[str, float] = {}

    def open(self) -> bool:
        """Make the run, or find the one that was made before, and say so in ``track.run.json``.

        Returns whether there is one. Rank 0 waits for this, so it is answered in bounded time even
        when a call to MLflow hangs; a run that is made after all is then still kept.
        """
        alarm = threading.Timer(
            self.pace.answer, self._refuse, [f"MLflow at {self.uri}: no answer in time"]
        )
        alarm.daemon = True
        alarm.start()
        try:
            experiment = insist(
                self._open,
                "the MLflow run",
                pace=self.pace,
                seconds=countdown(self.pace.open),
            )
        except Exception as error:
            log.exception("no MLflow run")
            self._refuse(sentence(self.uri, error))
            return False
        finally:
            alarm.cancel()
        with self._answer:
            self._answered = True
            self._write({"run_id": self.run_id, "experiment_id": experiment, "error": None})
        return True

    def _open(self) -> str:
        if self._store is None:
            self._store = self._make_store(self.uri)
        known = self.run.json("track.run.json") or {}
        if known.get("run_id"):
            self.run_id = known["run_id"]
            self._found = self._files_begun = True
            return str(known["experiment_id"])
        request = self.request
        experiment = str(
            self._store.experiment(request.get("experiment_id"), request.get("experiment"))
        )
        found = self._store.find(experiment, self.job)
        if found is None:
            tags = {**request.get("tags", {}), "aiinfra.job": self.job}
            found = self._store.create(experiment, request.get("run_name"), tags)
        else:
            self._found = self._files_begun = True
        self.run_id = found
        return experiment

    def _refuse(self, why: str) -> None:
        with self._answer:
            known = self.run.json("track.run.json") or {}
            if not self._answered and not known.get("run_id"):
                self._answered = True
                self._write({"run_id": None, "experiment_id": None, "error": why})

    def _write(self, answer: dict[str, Any]) -> None:
        self.run.write("track.run.json", {"uri": self.uri, **answer})

    def attend(self, vigil: Vigil, sampler: meter.Sampler | None) -> bool:
        """Log until the job is over, then its outcome; return whether all of it was taken."""
        sender = Sender(self._send, task=("parameters", self._log_params), pace=self.pace)
        # Files may go to a place of their own, which may be slow or away while the server is not.
        courier = Sender(self._send, task=("artifacts", self._log_artifacts), pace=self.pace)
        sender.start()
        courier.start()
        end = self._watch(vigil, sampler, sender)
        try:
            insist(
                functools.partial(self._conclude, end),
                "the outcome",
                pace=self.pace,
                seconds=countdown(self.pace.finish),
            )
        except Exception:
            log.exception("the outcome (%s) could not be logged", end.state)
            concluded = False
        else:
            concluded = True
        complete = all([concluded, sender.close(), courier.close(), self._log_outputs()])
        if not complete:
            log.error("not everything could be logged; run this again to complete it")
        return complete

    def _watch(self, vigil: Vigil, sampler: meter.Sampler | None, sender: Sender) -> Outcome:
        due = time.monotonic()
        pause = 0.0  # the job may be over already
        while True:
            try:
                status = vigil.wait(pause)
            except (OSError, ValueError):
                log.exception("the run directory cannot be read just now")
                status = None
            end = outcome(status, now=time.time()) if status is not None else None
            if end is not None:
                return end
            if sampler is not None and time.monotonic() >= due:
                due = time.monotonic() + self.pace.sample
                sample = self._sample(sampler)
                if sample:
                    sender.put(sample)
            pause = self.pace.poll
            if sampler is not None:
                pause = min(pause, max(0.01, due - time.monotonic()))

    def _sample(self, sampler: meter.Sampler) -> list[Point]:
        now = time.time()
        step = max(0, round((now - self.begun) / self.pace.sample))
        try:
            values = sampler.read()
        except Exception:  # a driver or a /proc that fails once must not end the whole vigil
            log.exception("the system metrics cannot be read just now")
            values = {}
        values.update(self._others())
        if self.cost is not None:
            values[self.cost.key] = self.cost.read(now)
        return [Point(key, value, now, step) for key, value in values.items()]

    def _others(self) -> dict[str, float]:
        """Return what is new of the other nodes; one that says nothing any more has a gap."""
        values: dict[str, float] = {}
        for slot, said in (self.run.json(supervise.NODES_SYSTEM) or {}).items():
            if self._heard.get(slot) != said["at"]:
                self._heard[slot] = said["at"]
                values.update(said["values"])
        return values

    def _send(self, points: Sequence[Point]) -> None:
        for start in range(0, len(points), BATCH_METRICS):
            self._store.log_points(self.run_id, points[start : start + BATCH_METRICS])

    def _conclude(self, end: Outcome) -> None:
        status, _, tags = self._store.known(self.run_id)
        if status == end.status and tags.get("aiinfra.state") == end.state:
            return
        points = end.points
        if self.cost is not None:
            # What has the greatest step is MLflow's latest: this is the last word.
            step = round(max(0.0, end.ended_at - self.begun) / self.pace.sample) + 1
            cost = self.cost.read(end.ended_at)
            points = [*points, Point(self.cost.key, cost, end.ended_at, step)]
        self._store.log_points(self.run_id, points, end.tags)
        # Rank 0's own MLflow may have called the run FINISHED when it left: ours is the last word.
        self._store.finish(self.run_id, end.status, end.ended_at)

    def _log_params(self) -> None:
        params = {PREFIX + key: str(value) for key, value in self.request.get("params", {}).items()}
        if self._found:
            _, known, _ = self._store.known(self.run_id)
            params = {key: value for key, value in params.items() if safe_key(key) not in known}
        try:
            self._store.log_params(self.run_id, params)
        except Exception as error:
            if not is_permanent(error):
                raise
            self._log_each(params)

    def _log_each(self, params: dict[str, str]) -> None:
        """Log parameters one by one, so that one MLflow does not take costs no other."""
        for key, value in params.items():
            self._or_warn(
                f"parameter {key}",
                functools.partial(self._store.log_params, self.run_id, {key: value}),
            )

    def _or_warn(self, what: str, work: Callable[[], None]) -> None:
        """Do `work`; what MLflow or the file system will never take is logged and left."""
        try:
            work()
        except Exception as error:
            if not (is_permanent(error) or isinstance(error, (OSError, ValueError))):
                raise
            log.warning("%s: %s", what, error)

    def _log_artifacts(self) -> None:
        names = [str(name) for name in self.request.get("artifacts", [])]
        known = self._store.artifacts(self.run_id) if self._files_begun else set()
        self._files_begun = True  # should this be tried again, some are there
        for name in names:
            if name not in known:
                self._or_warn(f"artifact {name}", functools.partial(self._log_artifact, name))
        if "requirements.txt" not in {*names, *known}:
            self._store.log_text(self.run_id, environment_lock(), "requirements.txt")

    def _log_outputs(self) -> bool:
        """Log the files that the job itself has declared; return whether all of them were taken."""
        folder = self.run.path("artifacts")
        complete = True
        for parent, _, names in os.walk(folder):
            for name in sorted(names):
                path = os.path.join(parent, name)
                told = os.path.relpath(path, self.run.folder).replace(os.sep, "/")
                work = functools.partial(self._store.log_file, self.run_id, path, told)
                try:
                    insist(
                        functools.partial(self._or_warn, f"artifact {told}", work),
                        f"artifact {told}",
                        pace=self.pace,
                        seconds=countdown(self.pace.finish),
                    )
                except Exception:  # the others may be taken all the same
                    log.exception("artifact %s could not be logged", told)
                    complete = False
        return complete

    def _log_artifact(self, name: str) -> None:
        path = os.path.realpath(self.run.path(name))
        if not path.startswith(os.path.realpath(self.run.folder) + os.sep):
            raise ValueError("it lies outside the run directory")
        size = os.path.getsize(path)
        if size > ARTIFACT_BYTES:
            raise ValueError(f"{size} bytes are more than the {ARTIFACT_BYTES} we log")
        self._store.log_file(self.run_id, path, name)


def environment_lock() -> str:
    """Return what is installed in this Python as sorted ``name==version`` lines."""
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name and distribution.version:
            # The first one on sys.path is the one that is imported.
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution.version)
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items()))


@contextlib.contextmanager
def only_one(path: str) -> Iterator[bool]:
    """Hold a lock on the file at `path`; yields whether we got it. Any death frees it."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def system_metrics_wanted(environ: dict[str, str]) -> bool:
    """Whether system metrics are ours to log: MLflow's own monitor, once asked for, does it."""
    asked = environ.get("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "")
    return asked.strip().lower() not in ("true", "1")


def main(argv: Sequence[str]) -> int:
    """Keep the MLflow run of one run directory; return the exit status."""
    if len(argv) not in (2, 3) or argv[2:] not in ([], ["meter"]):
        print(__doc__, file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    run = supervise.Run(argv[1])
    request = run.json("track.json")
    if request is None:
        print(f"{run.path('track.json')} is not there: no tracking was asked for", file=sys.stderr)
        return 2
    environ = dict(os.environ)  # before the store sets its own variables
    spec = run.spec or {}
    request.setdefault("job", spec.get("job") or os.path.basename(run.folder))
    pace = Pace(sample=float(request.get("sample_seconds") or Pace().sample))
    with only_one(run.path("track.json")) as mine:
        if not mine:
            print("a tracker lives beside this job already", file=sys.stderr)
            return 0
        sampler = None
        if system_metrics_wanted(environ):
            sampler = meter.make_sampler(spec, environ)
        if argv[2:]:
            if sampler is not None:
                with contextlib.suppress(OSError):
                    os.nice(NICENESS)
                meter.keep(run, sampler, seconds=pace.sample)
            return 0
        cost = make_cost(request, os.path.getmtime(run.path("track.json")))
        companion = Companion(run, request, pace=pace, cost=cost)
        if not companion.open():
            return 1
        with contextlib.suppress(OSError):
            os.nice(NICENESS)  # from here on nobody waits for us, and training comes first
        return 0 if companion.attend(Vigil(run, 0), sampler) else 1


if __name__ == "__main__":
    status = main(sys.argv)
    logging.shutdown()
    # A sender that hangs in somebody's network code must not keep the process.
    os._exit(status)
