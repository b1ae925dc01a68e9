from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.model import Interpreter, TrackingSpec, from_wire, to_wire
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.tracking import (
    Tracking,
    git_state,
    run_params,
    run_tags,
    safe_environ,
    track_request,
    tracking_spec,
)

CWD = Path("/home/me/notebooks")
HOME = Path("/home/me/.local/share/jupyter-aiinfra")


def chosen(
    asked: str | None = None,
    *,
    setting: str | None = None,
    environ: dict[str, str] | None = None,
    modules: dict[str, Any] | None = None,
) -> Tracking | None:
    return tracking_spec(
        asked=asked,
        settings=Settings(home=HOME, tracking_uri=setting),
        job_name="digits",
        environ=environ or {},
        cwd=CWD,
        modules=modules or {},
    )


def made(asked: str | None = None, **options: Any) -> Tracking:
    tracking = chosen(asked, **options)
    assert tracking is not None
    return tracking


def mlflow_module(uri: str | None) -> SimpleNamespace:
    return SimpleNamespace(
        is_tracking_uri_set=lambda: uri is not None, get_tracking_uri=lambda: uri
    )


# --- which run ----------------------------------------------------------------------------------


def test_no_run_when_nobody_wants_one() -> None:
    assert chosen() is None
    assert chosen(modules={"mlflow": mlflow_module(None)}) is None
    assert chosen(modules={"mlflow": None}) is None
    assert chosen(environ={"MLFLOW_TRACKING_URI": ""}) is None


def test_a_bare_option_means_a_database_at_home() -> None:
    assert made("").spec.uri == f"sqlite:///{HOME}/mlflow.db"


def test_the_first_that_is_set_wins() -> None:
    environ = {"MLFLOW_TRACKING_URI": "http://environ:5000"}
    modules = {"mlflow": mlflow_module("http://module:5000")}
    both = {"environ": environ, "modules": modules, "setting": "http://setting:5000"}

    assert made("http://asked:5000", **both).spec.uri == "http://asked:5000"
    assert made("", **both).spec.uri == "http://module:5000"
    assert made(None, **both).spec.uri == "http://module:5000"
    assert made(environ=environ, setting="http://setting:5000").spec.uri == "http://environ:5000"
    assert made(setting="http://setting:5000").spec.uri == "http://setting:5000"
    assert made("", setting="http://setting:5000").spec.uri == "http://setting:5000"


def test_mlflow_is_not_imported() -> None:
    before = {name for name in sys.modules if name.partition(".")[0] == "mlflow"}

    tracking_spec(asked="", settings=Settings(home=HOME), job_name="digits")

    assert {name for name in sys.modules if name.partition(".")[0] == "mlflow"} == before


def test_the_experiment_is_the_one_in_force() -> None:
    server = {"MLFLOW_TRACKING_URI": "http://tracker:5000"}

    named = made(environ={**server, "MLFLOW_EXPERIMENT_NAME": "vision"}).spec
    assert (named.experiment, named.experiment_id) == ("vision", None)

    numbered = made(environ={**server, "MLFLOW_EXPERIMENT_ID": "7"}).spec
    assert (numbered.experiment, numbered.experiment_id) == (None, "7")

    fluent = {"mlflow.tracking.fluent": SimpleNamespace(_active_experiment_id="9")}
    active = made(environ={**server, "MLFLOW_EXPERIMENT_NAME": "vision"}, modules=fluent).spec
    assert (active.experiment, active.experiment_id) == (None, "9")

    # set_experiment() not called: the variable with the name is what MLflow itself looks at.
    both = {**server, "MLFLOW_EXPERIMENT_NAME": "vision", "MLFLOW_EXPERIMENT_ID": "7"}
    idle = {"mlflow.tracking.fluent": SimpleNamespace(_active_experiment_id=None)}
    assert made(environ=both, modules=idle).spec.experiment == "vision"


def test_an_experiment_id_is_not_taken_to_another_server() -> None:
    environ = {
        "MLFLOW_TRACKING_URI": "http://tracker:5000",
        "MLFLOW_EXPERIMENT_ID": "7",
        "MLFLOW_EXPERIMENT_NAME": "",
    }

    assert made("http://other:5000", environ=environ).spec.experiment_id is None
    assert made("http://tracker:5000", environ=environ).spec.experiment_id == "7"


@pytest.mark.parametrize(
    ("asked", "uri"),
    [
        ("sqlite:///mlflow.db", "sqlite:////home/me/notebooks/mlflow.db"),
        ("sqlite:///../runs/m.db", "sqlite:////home/me/runs/m.db"),
        ("sqlite:////srv/mlflow.db", "sqlite:////srv/mlflow.db"),
        (
            "sqlite+pysqlite:///m.db?timeout=5",
            "sqlite+pysqlite:////home/me/notebooks/m.db?timeout=5",
        ),
        ("mlruns", "file:///home/me/notebooks/mlruns"),
        ("/srv/mlruns", "file:///srv/mlruns"),
        ("file:///srv/mlruns", "file:///srv/mlruns"),
        ("file:./mlruns", "file:///home/me/notebooks/mlruns"),
        ("http://tracker:5000/base", "http://tracker:5000/base"),
        ("databricks", "databricks"),
        ("databricks://profile", "databricks://profile"),
        ("postgresql://me@db/mlflow", "postgresql://me@db/mlflow"),
    ],
)
def test_a_uri_means_the_same_in_any_folder(asked: str, uri: str) -> None:
    assert made(asked).spec.uri == uri


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("localhost:5000", "http://localhost:5000"),
        ("runs.db", "sqlite:///runs.db"),
        ("sqlite://", "sqlite:///mlflow.db"),
        ("sqlite:///:memory:", "sqlite:///mlflow.db"),
        ("sqlite://mlflow.db", "sqlite:///mlflow.db"),
        ("mysql://me:hunter2@db/mlflow", "mlflow server"),
        ("postgresql://me@db/mlflow?password=hunter2", "mlflow server"),
    ],
)
def test_a_uri_that_cannot_work_is_refused_with_a_hint(asked: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        chosen(asked)

    assert hint in caught.value.hint
    assert "hunter2" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("asked", "environ", "uri", "secrets"),
    [
        (
            "https://me:hunter2%40@tracker/base",
            {},
            "https://tracker/base",
            {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "hunter2@"},
        ),
        (
            "https://me@tracker:8443",
            {"MLFLOW_TRACKING_PASSWORD": "hunter2", "UNRELATED": "x"},
            "https://tracker:8443",
            {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "hunter2"},
        ),
        (
            "https://tracker",
            {"MLFLOW_TRACKING_TOKEN": "abc"},
            "https://tracker",
            {"MLFLOW_TRACKING_TOKEN": "abc"},
        ),
        (
            "postgresql+psycopg2://me:hunter2@db:5432/mlflow",
            {},
            "postgresql+psycopg2://me@db:5432/mlflow",
            {"PGPASSWORD": "hunter2"},
        ),
        (
            "databricks",
            {"DATABRICKS_TOKEN": "abc", "MLFLOW_TRACKING_TOKEN": "no"},
            "databricks",
            {"DATABRICKS_TOKEN": "abc"},
        ),
        ("sqlite:////srv/mlflow.db", {"MLFLOW_TRACKING_TOKEN": "abc"}, None, {}),
    ],
)
def test_credentials_travel_beside_the_uri(
    asked: str, environ: dict[str, str], uri: str | None, secrets: dict[str, str]
) -> None:
    tracking = made(asked, environ=environ)

    assert tracking.spec.uri == (uri or asked)
    assert tracking.secrets == secrets
    assert "hunter2" not in repr(tracking)


# --- what describes it --------------------------------------------------------------------------


def test_parameters_of_a_launch() -> None:
    python = Interpreter(
        executable="/usr/bin/python3", version="3.11.2", packages={"torch": "2.13.0"}
    )

    params = run_params(
        command="accelerate launch x.py", pool="here", nodes=2, procs=4, python=python
    )

    assert params == {
        "command": "accelerate launch x.py",
        "pool": "here",
        "nodes": "2",
        "procs": "4",
        "world": "8",
        "python": "3.11.2",
        "torch": "2.13.0",
    }
    assert run_params() == {}


def test_tags_of_an_origin() -> None:
    git = {"commit": "c0ffee", "branch": "main", "dirty": "true", "remote": "git@host:me/x.git"}

    assert run_tags(source="train.ipynb", is_notebook=True, user="me", git=git) == {
        "mlflow.source.name": "train.ipynb",
        "mlflow.source.type": "NOTEBOOK",
        "mlflow.user": "me",
        "mlflow.source.git.commit": "c0ffee",
        "mlflow.source.git.branch": "main",
        "mlflow.source.git.dirty": "true",
        "mlflow.source.git.repoURL": "git@host:me/x.git",
    }
    assert run_tags(source="train.py")["mlflow.source.type"] == "LOCAL"
    assert run_tags() == {}


def test_the_request_holds_the_whole_spec() -> None:
    spec = TrackingSpec(
        uri="http://tracker", experiment="vision", run_name="digits", params={"a": "1"}
    )

    request = track_request(spec, artifacts=["cell.py"])

    assert from_wire(request, TrackingSpec) == spec
    assert request["artifacts"] == ["cell.py"]
    assert set(to_wire(spec)) <= set(request)


# --- git ----------------------------------------------------------------------------------------


def git_that_says(**answers: str) -> Callable[[Sequence[str]], str | None]:
    return lambda arguments: answers.get(arguments[0].replace("-", "_"))


def test_git_state_of_a_changed_work_tree() -> None:
    status = (
        "# branch.oid 1f0c\n# branch.head feature/x\n# branch.ab +1 -0\n"
        "1 .M N... 100644 100644 100644 aa bb train.py\n"
    )

    state = git_state("/x", run=git_that_says(status=status, config="git@host:me/x.git\n"))

    assert state == {
        "commit": "1f0c",
        "branch": "feature/x",
        "dirty": "true",
        "remote": "git@host:me/x.git",
    }


def test_git_state_of_a_detached_clean_and_of_an_empty_repository() -> None:
    detached = git_that_says(status="# branch.oid 1f0c\n# branch.head (detached)\n")
    assert git_state("/x", run=detached) == {"commit": "1f0c", "dirty": "false"}

    empty = git_that_says(status="# branch.oid (initial)\n# branch.head main\n")
    assert git_state("/x", run=empty) == {"branch": "main", "dirty": "false"}


def test_git_state_where_the_work_tree_is_too_slow_or_there_is_none() -> None:
    assert git_state("/x", run=git_that_says(rev_parse="1f0c\n")) == {"commit": "1f0c"}
    assert git_state("/x", run=git_that_says()) == {}


@pytest.mark.parametrize(
    ("remote", "shown"),
    [
        ("https://me:token@host/me/x.git", "https://host/me/x.git"),
        ("https://token@host:8443/me/x.git?key=1", "https://host:8443/me/x.git"),
        ("ssh://git:secret@host/me/x.git", "ssh://git@host/me/x.git"),
        ("git@host:me/x.git", "git@host:me/x.git"),
        ("/srv/git/x.git", "/srv/git/x.git"),
    ],
)
def test_a_remote_is_recorded_without_credentials(remote: str, shown: str) -> None:
    answers = git_that_says(status="# branch.oid 1f0c\n", config=remote)

    assert git_state("/x", run=answers)["remote"] == shown


# --- secrets ------------------------------------------------------------------------------------

SECRET = [
    ("AWS_SECRET_ACCESS_KEY", "x"),
    ("AWS_ACCESS_KEY_ID", "x"),
    ("AWS_SESSION_TOKEN", "x"),
    ("OPENAI_API_KEY", "x"),
    ("OPENAI_APIKEY", "x"),
    ("openaiApiKey", "x"),
    ("WANDB_API_KEY", "0123456789abcdef0123456789abcdef01234567"),
    ("KAGGLE_KEY", "x"),
    ("HF_TOKEN", "x"),
    ("HUGGING_FACE_HUB_TOKEN", "x"),
    ("GITHUBTOKEN", "x"),
    ("JUPYTER_TOKEN", "1234"),
    ("MLFLOW_TRACKING_PASSWORD", "x"),
    ("MLFLOW_TRACKING_TOKEN", "x"),
    ("PGPASSWORD", "x"),
    ("DB_PASS", "123456"),
    ("MYSQL_PWD", "x"),
    ("SSHPASS", "x"),
    ("ROOT_PASSWD", "x"),
    ("PASSWORD", "true"),
    ("PASSWORD2", "x"),
    ("GPG_PASSPHRASE", "x"),
    ("AZURE_CLIENT_SECRET", "x"),
    ("CLIENTSECRET", "true"),
    ("GOOGLE_APPLICATION_CREDENTIALS", "{}"),
    ("GCP_CREDS", "x"),
    ("REDISCLI_AUTH", "x"),
    ("NPM_CONFIG__AUTH", "x"),
    ("HTTP_AUTHORIZATION", "x"),
    ("SESSION_COOKIE", "x"),
    ("GITHUB_PAT", "x"),
    ("SOME_JWT", "x"),
    ("AZURE_STORAGE_SAS", "x"),
    ("DATABASE_URL", "postgresql://me:hunter2@db/x"),
    ("PIP_EXTRA_INDEX_URL", "https://a.example/simple https://u:p@b.example/simple"),
    ("GIT_REMOTE", "https://0123456789abcdef@host/x.git"),
    ("HTTPS_PROXY", "http://me:hunter2@proxy:3128"),
    ("SENTRY", "https://0123456789abcdef0123@o1.ingest.example/1"),
    ("CONNECTION", "Server=db;Password=hunter2;Database=x"),
    ("LIBPQ", "host=db password=hunter2"),
    ("BLOB", "https://x.example/c?sv=1&sig=abc"),
    ("HEADER", "Bearer abcdefghijklmnopqrstuvwxyz"),
    ("X1", "ghp_" + "a" * 36),
    ("X2", "github_pat_" + "a" * 30),
    ("X3", "glpat-" + "a" * 20),
    ("X4", "hf_" + "a" * 34),
    ("X5", "sk-" + "a" * 40),
    ("X6", "sk-proj-" + "a" * 40),
    ("X7", "xoxb-123456789012-abc"),
    ("X8", "AKIA" + "A" * 16),
    ("X9", "AIza" + "a" * 35),
    ("X10", "eyJhbGciOiJI.eyJzdWIiOiIx.c2ln"),
    ("X11", "-----BEGIN RSA PRIVATE KEY-----\nMII"),
    ("X12", "npm_" + "a" * 36),
    ("X13", "dapi" + "0" * 32),
    ("X14", "https://hooks.slack.com/services/T000/B000/x"),
    ("X15", "q7Rk2ZpW9xLm4TnB8vYc3HsJ6dFg"),
]

HARMLESS = [
    ("TOKENIZERS_PARALLELISM", "false"),
    ("MONKEY", "george"),
    ("KEYBOARD", "us"),
    ("XKB_KEYBOARD_LAYOUT", "de"),
    ("AUTHOR", "Ada"),
    ("GIT_AUTHOR_NAME", "Ada"),
    ("GIT_AUTHOR_EMAIL", "ada@example.org"),
    ("XAUTHORITY", "/home/me/.Xauthority"),
    ("SSH_AUTH_SOCK", "/tmp/ssh-x/agent.1"),
    ("SSL_KEY_FILE", "/etc/ssl/key.pem"),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/token"),
    ("MAX_TOKENS", "4096"),
    ("TOKENS_PER_SECOND", "12.5"),
    ("EOS_TOKEN_ID", "2"),
    ("USE_AUTH_TOKEN", "true"),
    ("USE_AUTH", "0"),
    ("PWD", "/home/me"),
    ("OLDPWD", "/home/me/x"),
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("HOME", "/home/me"),
    ("COMPASS", "north"),
    ("BYPASS_CHECKS", "1"),
    ("SECRETARY", "Bob"),
    ("PASSENGER_COUNT", "3"),
    ("TURKEY", "country"),
    ("CUDA_VISIBLE_DEVICES", "GPU-8f6a1b2c-3d4e-5f60-7182-93a4b5c6d7e8"),
    ("MLFLOW_RUN_ID", "0123456789abcdef0123456789abcdef"),
    ("GIT_COMMIT", "0123456789abcdef0123456789abcdef01234567"),
    ("MLFLOW_TRACKING_URI", "http://tracker:5000"),
    ("MLFLOW_TRACKING_USERNAME", "me"),
    ("REMOTE", "ssh://git@host/me/x.git"),
    ("MODEL", "meta-llama/Meta-Llama-3.1-8B-Instruct-GPTQ-Int4"),
    ("MODEL_CLASS", "AutoModelForSequenceClassificationV2"),
    ("ACCELERATE_MIXED_PRECISION", "bf16"),
    ("NCCL_SOCKET_IFNAME", "eth0"),
    ("OMP_NUM_THREADS", "2"),
    ("LANG", "en_US.UTF-8"),
    ("LS_COLORS", "rs=0:di=01;34:ln=01;36:mh=00:pi=40;33:so=01;35"),
    ("PS1", r"\[\e]0;\u@\h: \w\a\]${debian_chroot:+($debian_chroot)}\u@\h:\w\$ "),
    ("NVIDIA_REQUIRE_CUDA", "cuda>=12.4 brand=tesla,driver>=470,driver<471"),
    ("XDG_SESSION_ID", "c2"),
    ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/1000/bus"),
    ("PYTHON_SHA256", "a" * 32 + "0123456789" * 3),
    ("EMPTY", ""),
]


@pytest.mark.parametrize(("name", "value"), SECRET, ids=[name for name, _ in SECRET])
def test_what_looks_like_a_secret_is_not_recorded(name: str, value: str) -> None:
    assert safe_environ({name: value, "LANG": "C"}) == {"LANG": "C"}


@pytest.mark.parametrize(("name", "value"), HARMLESS, ids=[name for name, _ in HARMLESS])
def test_what_only_resembles_a_secret_is_kept(name: str, value: str) -> None:
    assert safe_environ({name: value}) == {name: value}
