from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import platformdirs
import pytest

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def _nobodys_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep out what whoever runs the tests has configured."""
    monkeypatch.setattr(
        platformdirs, "user_config_path", lambda _app: tmp_path / "nobody" / "config"
    )
    monkeypatch.setattr(platformdirs, "user_data_path", lambda _app: tmp_path / "nobody" / "data")


def written(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return {"JUPYTER_AIINFRA_CONFIG": str(path)}


def test_defaults_need_no_file(tmp_path: Path) -> None:
    settings = load_settings({})
    assert settings == Settings(home=tmp_path / "nobody" / "data")
    assert settings.database == f"sqlite:///{settings.home / 'aiinfra.db'}"
    assert settings.runs == settings.home / "runs"
    assert settings.blobs == settings.home / "blobs"


def test_a_database_elsewhere_is_taken_as_it_is() -> None:
    assert load_settings({"JUPYTER_AIINFRA_DATABASE_URL": "postgresql://db/x"}).database == (
        "postgresql://db/x"
    )


def test_the_environment_goes_before_the_file_and_the_file_before_defaults(tmp_path: Path) -> None:
    environ = written(tmp_path, 'grace_seconds = 3\ndisplay_lines = 50\nhome = "/srv/ai"\n')
    environ["JUPYTER_AIINFRA_DISPLAY_LINES"] = "70"
    settings = load_settings(environ)
    assert (settings.grace_seconds, settings.display_lines) == (3.0, 70)
    assert settings.home == Path("/srv/ai")
    assert settings.start_timeout_seconds == 600.0


def test_the_users_own_file_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "nobody" / "config"
    folder.mkdir(parents=True)
    (folder / "settings.toml").write_text("max_local_procs = 3\n")
    assert load_settings({}).max_local_procs == 3


LISTS = {"notify_targets", "notify_budgets"}  # see test_notify.py


@pytest.mark.parametrize("field", [f.name for f in fields(Settings) if f.name not in LISTS])
def test_every_setting_can_be_set_in_the_environment(field: str) -> None:
    settings = load_settings({f"JUPYTER_AIINFRA_{field.upper()}": "17"})
    value = getattr(settings, field)
    assert str(value).removesuffix(".0").endswith("17")


def test_the_process_environment_is_read_anew_each_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith("JUPYTER_AIINFRA_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("JUPYTER_AIINFRA_HOME", str(tmp_path / "one"))
    assert load_settings().home == tmp_path / "one"
    monkeypatch.setenv("JUPYTER_AIINFRA_HOME", str(tmp_path / "two"))
    assert load_settings().home == tmp_path / "two"


def test_the_home_is_absolute_and_the_tilde_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert load_settings({"JUPYTER_AIINFRA_HOME": "~/ai"}).home == Path("/home/somebody/ai")
    assert load_settings({"JUPYTER_AIINFRA_HOME": "ai"}).home == Path.cwd() / "ai"


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        (
            {"JUPYTER_AIINFRA_DISPLAY_LINES": "many"},
            r"display_lines \(JUPYTER_AIINFRA_DISPLAY_LINES\) is 'many': expected a whole number",
        ),
        ({"JUPYTER_AIINFRA_GRACE_SECONDS": "nan"}, "grace_seconds .* is 'nan': .*, 0 or more"),
        ({"JUPYTER_AIINFRA_GRACE_SECONDS": "-1"}, "grace_seconds .* is '-1'"),
        ({"JUPYTER_AIINFRA_RUNS_AT_ONCE": "0"}, "runs_at_once .*expected a number, 1 or more"),
        ({"JUPYTER_AIINFRA_ROUTER_PORT": "70000"}, "router_port .*expected a number, 0 to 65535"),
        ({"JUPYTER_AIINFRA_CONFIG": "/nowhere/at/all.toml"}, "/nowhere/at/all.toml"),
    ],
)
def test_what_cannot_be_is_named(environ: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_settings(environ)


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"settings\.toml is not valid TOML"):
        load_settings(written(tmp_path, "grace_seconds = = 3"))


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    environ = written(tmp_path, "")
    Path(environ["JUPYTER_AIINFRA_CONFIG"]).write_bytes(b"home = '\xff'")
    with pytest.raises(UsageError, match=r"settings\.toml is not valid TOML"):
        load_settings(environ)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("grace_seconds = 'ten'", r"grace_seconds \(settings.toml\) is 'ten': expected a number"),
        ("notify_targets = 3", "notify_targets .* is 3: expected a table of names and targets"),
        ("notify_budgets = 'anna'", "notify_budgets .* is 'anna': expected a list of texts"),
    ],
)
def test_a_wrong_value_in_the_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_settings(written(tmp_path, text))


def test_an_unknown_setting_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown setting 'grace_second'") as caught:
        load_settings(written(tmp_path, "grace_second = 3"))
    assert caught.value.hint == "did you mean grace_seconds?"
