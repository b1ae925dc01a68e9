"""The real Accelerate: its parser, its choice of a launcher, and three launches."""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.accelerate import (
    LaunchOptions,
    launch_argv,
    launch_env,
    launch_files,
    option_table,
    parse_passed,
)
from jupyter_aiinfra.accelerate.options import _options

launch = pytest.importorskip("accelerate.commands.launch")

GOLDEN = Path(__file__).parents[1] / "golden" / "accelerate"
# What `accelerate config` may have left in the home of the node's owner. Each would change a job.
HOSTILE = {
    "fsdp": "distributed_type: FSDP\nnum_processes: 7\nnum_machines: 3\nmachine_rank: 2\n"
    "main_process_port: 1\nmixed_precision: bf16\nuse_cpu: true\ngpu_ids: '0'\n"
    "dynamo_config: {dynamo_backend: INDUCTOR}\n",
    "mpirun": "distributed_type: MULTI_CPU\nmpirun_config: {mpirun_hostfile: hosts}\n",
    "sagemaker": "compute_environment: AMAZON_SAGEMAKER\ndistributed_type: DATA_PARALLEL\n"
    "ec2_instance_type: large\niam_role_name: me\nmixed_precision: 'no'\nuse_cpu: false\n"
    "debug: false\n",
    "broken": "{",
}

Chosen = tuple[str, argparse.Namespace]


def filled(options: LaunchOptions, folder: Path, *, script: str = "rank.py") -> list[str]:
    """Put the files in place and return the argv as a node's supervisor would run it."""
    for name, data in launch_files(options).items():
        (folder / name).write_bytes(data)
    contract = {
        "AIINFRA_NODE_RANK": "0",
        "AIINFRA_NODE_COUNT": str(options.nodes),
        "AIINFRA_WORLD_SIZE": str(options.world),
        "AIINFRA_HEAD": "127.0.0.1",
        "AIINFRA_PORT": str(free_port()),
        "AIINFRA_RUN_DIR": str(folder),
    }
    argv = list(launch_argv(options, python=sys.executable, script=script))
    for name, value in contract.items():
        argv = [word.replace("${" + name + "}", value) for word in argv]
    return argv


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def options(
    line: str, *, procs: int, nodes: int = 1, cpu: bool = True, config_text: str | None = None
) -> LaunchOptions:
    return LaunchOptions(
        procs=procs,
        nodes=nodes,
        cpu=cpu,
        passed=parse_passed(line.split()),
        config_text=config_text,
    )


# --- the table -------------------------------------------------------------------------------


def actions() -> dict[str, argparse.Action]:
    # The positionals are the script and its arguments.
    parser = launch.launch_command_parser()
    return {
        next(s for s in action.option_strings if s.startswith("--"))[2:]: action
        for action in parser._actions
        if action.option_strings
    }


def test_the_table_has_exactly_accelerates_options() -> None:
    assert {option.name for option in _options()} == set(actions())


def test_each_option_is_spelt_and_valued_as_accelerate_does() -> None:
    numbers = {int: "int", float: "float", bool: "anything-is-true"}
    theirs = actions()
    for option in _options():
        action = theirs[option.name]
        assert set(option.spellings) == set(action.option_strings), option.name
        assert (option.takes == "nothing") == (action.nargs == 0), option.name
        assert option.choices == tuple(action.choices or ()), option.name
        if not option.instead:
            kind = numbers.get(action.type, "text")  # type: ignore[call-overload]
            assert option.takes in {"nothing", kind}, option.name


# What stands unchecked in the one left out is no option of this Accelerate, on purpose.
KNOWN = sorted(file for file in GOLDEN.iterdir() if file.stem != "unchecked")


@pytest.mark.parametrize("file", KNOWN, ids=lambda file: file.stem)
def test_accelerate_parses_every_golden_argv(file: Path) -> None:
    text = file.read_text()
    for name, value in {"NODE_RANK": 0, "NODE_COUNT": 3, "WORLD_SIZE": 6, "PORT": 1}.items():
        text = text.replace(f"${{AIINFRA_{name}}}", str(value))
    args = launch.launch_command_parser().parse_args(text.splitlines()[3:])
    assert args.training_script == "rank.py"
    assert args.training_script_args == []
    assert args.main_process_port == 1


# --- the launcher it chooses -----------------------------------------------------------------


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Chosen]:
    """Run Accelerate's own launch command up to the launcher it has chosen."""
    from accelerate.commands.config import config_args

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    chosen: list[Chosen] = []
    for name in ("simple", "multi_gpu", "deepspeed", "tpu", "sagemaker"):
        monkeypatch.setattr(
            launch, f"{name}_launcher", lambda *args, name=name: chosen.append((name, args[-1]))
        )

    def run(argv: Sequence[str], *, owner: str | None = None) -> Chosen:
        default = tmp_path / "default_config.yaml"
        if owner is not None:
            default.write_text(HOSTILE[owner])
        monkeypatch.setattr(launch, "default_config_file", str(default))
        monkeypatch.setattr(config_args, "default_config_file", str(default))
        launch.launch_command(launch.launch_command_parser().parse_args(argv[3:]))
        return chosen.pop()

    return run


CHOICES: list[tuple[dict[str, Any], str, str]] = [
    ({"procs": 1}, "", "simple"),
    ({"procs": 1, "cpu": False}, "", "simple"),
    ({"procs": 2}, "", "multi_gpu"),
    ({"procs": 2, "cpu": False}, "--mixed-precision bf16", "multi_gpu"),
    ({"procs": 1, "nodes": 3}, "", "multi_gpu"),
    ({"procs": 2}, "--use-fsdp --fsdp-version 2", "multi_gpu"),
    ({"procs": 1}, "--use_fsdp", "multi_gpu"),
    ({"procs": 4, "nodes": 2, "cpu": False}, "--use_deepspeed --zero_stage 2", "deepspeed"),
    ({"procs": 2}, "--use_megatron_lm", "multi_gpu"),
    ({"procs": 8, "cpu": False}, "--tpu", "tpu"),
]


@pytest.mark.parametrize("owner", [None, *HOSTILE])
@pytest.mark.parametrize(("given", "line", "launcher"), CHOICES)
def test_the_same_launch_whatever_the_nodes_owner_configured(
    choose: Callable[..., Chosen],
    tmp_path: Path,
    given: dict[str, Any],
    line: str,
    launcher: str,
    owner: str | None,
) -> None:
    wanted = options(line, **given)
    argv = filled(wanted, tmp_path)
    name, args = choose(argv, owner=owner)
    assert name == launcher
    assert (args.num_processes, args.num_machines) == (wanted.world, wanted.nodes)
    assert (args.machine_rank, args.main_process_ip) == (0, "127.0.0.1")
    assert str(args.main_process_port) in argv
    assert args.mixed_precision == ("bf16" if "bf16" in line else "no")
    assert args.dynamo_backend == "no"
    assert (args.gpu_ids, args.mpirun_hostfile) == ("all", None)
    assert args.use_fsdp == ("fsdp" in line)
    assert args.use_deepspeed == ("deepspeed" in line)
    # What the simple launcher tells its one rank.
    assert name != "simple" or (args.cpu or args.use_cpu) == wanted.cpu


def test_that_owner_would_have_changed_a_bare_launch(choose: Callable[..., Chosen]) -> None:
    # Keeps the test above honest: the files are read where no other is named.
    name, args = choose(["python", "-m", "x", "--num_processes", "1", "rank.py"], owner="fsdp")
    assert (name, args.use_fsdp, args.num_machines) == ("multi_gpu", True, 3)
    _, args = choose(["python", "-m", "x", "--num_processes", "1", "rank.py"], owner="mpirun")
    assert args.mpirun_hostfile == "hosts"


@pytest.mark.parametrize(
    ("kind", "launcher"),
    [("FSDP", "multi_gpu"), ("DEEPSPEED", "deepspeed"), ("MULTI_CPU", "multi_gpu")],
)
def test_the_users_file_selects_but_does_not_place(
    choose: Callable[..., Chosen], tmp_path: Path, kind: str, launcher: str
) -> None:
    text = HOSTILE["fsdp"].replace("FSDP", kind)
    wanted = options("--config_file mine.yaml", procs=2, nodes=2, cpu=False, config_text=text)
    name, args = choose(filled(wanted, tmp_path))
    assert name == launcher
    assert (args.use_fsdp, args.use_deepspeed) == (kind == "FSDP", kind == "DEEPSPEED")
    assert (args.num_processes, args.num_machines, args.machine_rank) == (4, 2, 0)
    assert (args.gpu_ids, args.deepspeed_multinode_launcher) == ("all", "standard")
    assert (args.mixed_precision, args.dynamo_backend) == ("bf16", "INDUCTOR")


# --- real launches ---------------------------------------------------------------------------

SCRIPT = """
import json, os
kept = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "OMP_NUM_THREADS", "FSDP_VERSION", "MASTER_PORT")
seen = {k: v for k, v in os.environ.items() if k in kept or k.startswith("ACCELERATE_")}
os.write(1, (json.dumps(seen) + "\\n").encode())
"""


def ranks_of(wanted: LaunchOptions, folder: Path) -> tuple[list[dict[str, str]], list[str]]:
    (folder / "script.py").write_text(SCRIPT)
    home = folder / "home" / "accelerate"
    home.mkdir(parents=True)
    (home / "default_config.yaml").write_text(HOSTILE["fsdp"])
    argv = filled(wanted, folder, script=str(folder / "script.py"))
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ACCELERATE_", "OMP_"))}
    env = {**kept, "HF_HOME": str(folder / "home"), **launch_env(wanted, cpus=2)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert "were not passed to `accelerate launch`" not in done.stderr
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    return sorted(seen, key=lambda env: env.get("RANK", "")), argv


def test_two_ranks_on_the_cpu(tmp_path: Path) -> None:
    seen, argv = ranks_of(options("--mixed-precision bf16", procs=2), tmp_path)
    assert [(env["RANK"], env["WORLD_SIZE"]) for env in seen] == [("0", "2"), ("1", "2")]
    for env in seen:
        assert env["ACCELERATE_USE_CPU"] == "true"
        assert env["ACCELERATE_MIXED_PRECISION"] == "bf16"
        assert env["ACCELERATE_DYNAMO_BACKEND"] == "NO"
        assert env["OMP_NUM_THREADS"] == "1"
        assert env["MASTER_PORT"] in argv
        assert "ACCELERATE_USE_FSDP" not in env


def test_one_rank_on_the_cpu(tmp_path: Path) -> None:
    [env], _ = ranks_of(options("", procs=1), tmp_path)
    assert "RANK" not in env
    assert env["ACCELERATE_USE_CPU"] == "True"
    assert env["ACCELERATE_MIXED_PRECISION"] == "no"
    assert env["OMP_NUM_THREADS"] == "2"


def test_a_users_file_and_fsdp_on_the_cpu(tmp_path: Path) -> None:
    text = "distributed_type: FSDP\nfsdp_config: {fsdp_version: 2}\nmixed_precision: bf16\n"
    text += "num_processes: 64\n"
    wanted = options("--config_file mine.yaml", procs=2, config_text=text)
    seen, _ = ranks_of(wanted, tmp_path)
    assert [(env["RANK"], env["WORLD_SIZE"]) for env in seen] == [("0", "2"), ("1", "2")]
    for env in seen:
        assert env["ACCELERATE_USE_FSDP"] == "true"
        assert env["FSDP_VERSION"] == "2"
        assert env["ACCELERATE_MIXED_PRECISION"] == "bf16"
        assert env["ACCELERATE_USE_CPU"] == "true"


def test_every_option_of_the_table_survives_accelerates_parser() -> None:
    sample = {"int": "1", "float": "1.5", "anything-is-true": "yes", "text": "true"}
    for spelling, option in option_table().items():
        value = option.choices[0] if option.choices else sample.get(option.takes)
        words = [spelling] if value is None else [spelling, value]
        parser = launch.launch_command_parser()
        args = parser.parse_args([*parse_passed(words), "script.py"])
        assert args.training_script == "script.py", spelling
