"""Options in, argv out. ``WRITE_GOLDEN=1`` rewrites the golden files: review the diff then."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.accelerate import (
    LaunchOptions,
    config_path,
    launch_argv,
    launch_env,
    launch_files,
    option_table,
    parse_passed,
)
from jupyter_aiinfra.errors import UnknownOption, UsageError

GOLDEN = Path(__file__).parents[1] / "golden" / "accelerate"
FSDP_CONFIG = "compute_environment: LOCAL_MACHINE\ndistributed_type: FSDP\nnum_processes: 64\n"

# name: (what LaunchOptions gets, the words on the user's line)
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "cpu-1": ({"procs": 1, "cpu": True}, ""),
    "cpu-2": ({"procs": 2, "cpu": True}, ""),
    "cpu-2-nodes": ({"procs": 2, "nodes": 2, "cpu": True}, ""),
    "cpu-elastic": ({"procs": 2, "nodes": 3, "elastic": True, "cpu": True}, ""),
    "cpu-fsdp-1": ({"procs": 1, "cpu": True}, "--use-fsdp"),
    "cpu-mpirun": ({"procs": 4, "cpu": True}, "-- --mpirun_hostfile hosts"),
    "gpu-1": ({"procs": 1, "cpu": False}, ""),
    "gpu-8": ({"procs": 8, "cpu": False}, "--mixed-precision bf16 --dynamo_backend=inductor"),
    "gpu-1-on-2-nodes": ({"procs": 1, "nodes": 2, "cpu": False}, ""),
    "deepspeed": ({"procs": 8, "cpu": False}, "--use_deepspeed --zero_stage 3"),
    "deepspeed-2-nodes": ({"procs": 8, "nodes": 2, "cpu": False}, "--use-deepspeed"),
    "fsdp-2-nodes": ({"procs": 8, "nodes": 2, "cpu": False}, "--use_fsdp --fsdp-version 2"),
    "megatron": ({"procs": 8, "cpu": False}, "--use_megatron_lm --megatron_lm_tp_degree 4"),
    "tpu": ({"procs": 8, "cpu": False}, "--tpu --downcast_bf16"),
    "config": ({"procs": 2, "cpu": True, "config_text": "debug: true"}, "--config_file my.yaml"),
    "config-fsdp": (
        {"procs": 2, "nodes": 2, "cpu": False, "config_text": FSDP_CONFIG},
        "--debug --config-file=conf/my.yaml --quiet",
    ),
    "config-on-the-node": ({"procs": 2, "cpu": False}, "--config_file /etc/accelerate.json"),
    "unchecked": ({"procs": 2, "cpu": False}, "--debug -- --newer-than-us 3 --num_processes 64"),
}


def options(name: str) -> LaunchOptions:
    given, line = CASES[name]
    return LaunchOptions(passed=parse_passed(line.split()), **given)


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    argv = launch_argv(options(name), python="/opt/py/bin/python", script="rank.py")
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("WRITE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(argv) + "\n")
    assert list(argv) == file.read_text().splitlines()


def test_each_golden_file_has_its_case() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == set(CASES)


def argv_of(name: str) -> list[str]:
    return list(launch_argv(options(name), python="python", script="rank.py"))


def after(argv: list[str], option: str) -> str:
    assert argv.count(option) == 1
    return argv[argv.index(option) + 1]


@pytest.mark.parametrize("name", CASES)
def test_world_and_rendezvous_are_always_ours_and_come_last(name: str) -> None:
    argv = argv_of(name)
    ours = argv[argv.index("--num_machines") :]
    wanted = options(name)
    world, nodes = str(wanted.world), str(wanted.nodes)
    if wanted.elastic:
        world, nodes = "${AIINFRA_WORLD_SIZE}", "${AIINFRA_NODE_COUNT}"
    assert after(ours, "--num_processes") == world
    assert after(ours, "--num_machines") == nodes
    assert after(ours, "--machine_rank") == "${AIINFRA_NODE_RANK}"
    assert after(ours, "--main_process_ip") == "${AIINFRA_HEAD}"
    assert after(ours, "--main_process_port") == "${AIINFRA_PORT}"
    passed = [word for word in wanted.passed if word != "64"]
    assert all(argv.index(word) < argv.index(ours[0]) for word in passed if word in argv)


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name][0]["cpu"]])
def test_several_ranks_never_get_the_cpu_switch(name: str) -> None:
    alone = options(name).world == 1 or "mpirun" in name
    assert ("--cpu" in argv_of(name)) == (alone and "fsdp" not in name)


@pytest.mark.parametrize("name", CASES)
def test_at_most_one_launcher_is_selected(name: str) -> None:
    selecting = {"--multi_gpu", "--cpu", "--tpu", "--use_deepspeed", "--use-deepspeed"}
    selecting |= {"--use_fsdp", "--use-fsdp", "--use_megatron_lm"}
    assert len(selecting & set(argv_of(name))) <= 1


def test_script_and_its_arguments_come_after_all_options() -> None:
    argv = launch_argv(
        options("cpu-2"), python="python", script="train.py", script_args=("--lr", "0.1")
    )
    assert argv[:3] == ("python", "-m", "accelerate.commands.launch")
    assert argv[-3:] == ("train.py", "--lr", "0.1")


@pytest.mark.parametrize("name", CASES)
def test_a_configuration_file_is_always_named(name: str) -> None:
    argv = argv_of(name)
    [path] = [argv[i + 1] for i, word in enumerate(argv) if word == "--config_file"]
    shipped = {f"${{AIINFRA_RUN_DIR}}/{file}" for file in launch_files(options(name))}
    assert path in shipped or (not shipped and path == "/etc/accelerate.json")


def test_the_neutral_file_decides_nothing() -> None:
    [(name, data)] = launch_files(options("gpu-1")).items()
    assert name == "accelerate.json"
    assert json.loads(data)["distributed_type"] == "NO"
    assert json.loads(data)["compute_environment"] == "LOCAL_MACHINE"


def test_the_users_file_is_shipped_as_it_is_under_an_ending_accelerate_understands() -> None:
    assert launch_files(options("config-fsdp")) == {"accelerate.yaml": FSDP_CONFIG.encode()}
    text = '{"distributed_type": "NO"}'
    passed = ("--config_file", "x/my.json")
    given = LaunchOptions(procs=1, cpu=True, passed=passed, config_text=text)
    assert launch_files(given) == {"accelerate.json": text.encode()}
    assert config_path(passed) == "x/my.json"
    assert config_path(("--config-file=y.yaml",)) == "y.yaml"
    assert config_path(("--debug",)) is None


@pytest.mark.parametrize(
    "text",
    [
        "distributed_type: DEEPSPEED",
        '{"a": 1, "distributed_type": "FSDP"}',
        "distributed_type: 'XLA'",
    ],
)
def test_what_the_users_file_selects_is_respected(text: str) -> None:
    given = LaunchOptions(procs=2, cpu=False, passed=("--config_file", "f"), config_text=text)
    assert "--multi_gpu" not in launch_argv(given, python="python", script="s.py")


@pytest.mark.parametrize(
    "text",
    ["distributed_type: 'NO'", "# distributed_type: FSDP", '{"distributed_type": 3}', "{", ""],
)
def test_a_file_that_selects_nothing_leaves_the_choice_to_us(text: str) -> None:
    given = LaunchOptions(procs=2, cpu=False, passed=("--config_file", "f"), config_text=text)
    assert "--multi_gpu" in launch_argv(given, python="python", script="s.py")


@pytest.mark.parametrize(
    "text",
    ["compute_environment: AMAZON_SAGEMAKER", '{"compute_environment": "AMAZON_SAGEMAKER"}'],
)
def test_a_sagemaker_file_starts_nothing(text: str) -> None:
    with pytest.raises(UsageError, match=r"aws\.yaml describes a SageMaker job"):
        LaunchOptions(procs=1, cpu=False, passed=("--config_file", "aws.yaml"), config_text=text)


@pytest.mark.parametrize("wrong", [{"procs": 0}, {"procs": -1}, {"procs": 1, "nodes": 0}])
def test_a_launch_needs_a_rank(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        LaunchOptions(cpu=True, **wrong)


# --- options as the user writes them ---------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "--mixed-precision bf16",
        "--mixed_precision=bf16 --use_fsdp -q",
        "--gradient_clipping -1.5 --zero-stage 2 -t 3",
        "--fsdp_offload_params true --monitor-interval 0.5",
        "--role -",
        "",
    ],
)
def test_known_options_pass_as_given(line: str) -> None:
    words = tuple(line.split())
    assert parse_passed(words) == words


def test_what_follows_a_bare_dash_dash_passes_unchecked() -> None:
    words = ("--debug", "--", "--num_processes", "7", "anything", "--", "-x")
    assert parse_passed(words) == ("--debug", "--num_processes", "7", "anything", "--", "-x")


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("--mixed-precison", "--mixed-precision"),
        ("--mixed_precison", "--mixed_precision"),
        ("--use_fsdpp", "--use_fsdp"),
        ("--detatch", "--detach"),
        ("--quite", "--quiet"),
        ("--mixed_preci-sion", "--mixed_precision"),
    ],
)
def test_a_misspelt_option_is_answered_with_the_nearest(word: str, near: str) -> None:
    with pytest.raises(UnknownOption) as caught:
        parse_passed([word, "x"], ours=["--detach", "--procs"])
    assert word in caught.value.message
    assert caught.value.hint == f"did you mean {near}?"


def test_an_option_like_nothing_else_points_to_help() -> None:
    with pytest.raises(UnknownOption) as caught:
        parse_passed(["--zzzzzz"])
    assert "--help" in caught.value.hint


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--mixed-precision", "--mixed-precision needs a value"),
        ("--mixed-precision --debug", "--mixed-precision needs a value"),
        ("--mixed-precision half", "'half': expected one of no, fp16, bf16, fp8"),
        ("--zero_stage=two", "--zero_stage 'two': expected a whole number"),
        ("--gradient-clipping big", "'big': expected a number"),
        ("--use_fsdp=true", "--use_fsdp takes no value, got 'true'"),
        ("--use_fsdp true", "'true' is neither an option nor the value of one"),
        ("train.py", "'train.py' is neither an option"),
        ("--megatron_lm_no_load_optim false", "reads every word here as true"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(line: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_passed(line.split())
    assert message in caught.value.message


def test_a_near_choice_is_suggested() -> None:
    with pytest.raises(UsageError) as caught:
        parse_passed(["--mixed_precision", "bf-16"])
    assert caught.value.hint == "did you mean bf16?"


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("--num_processes 4", "--procs"),
        ("--num-machines=2", "--nodes"),
        ("--main_process_port 1", "--port"),
        ("--main-process-ip 10.0.0.1", "the pool"),
        ("--machine_rank 1", "the pool"),
        ("--rdzv_backend c10d", "the pool"),
        ("--rdzv-conf x=y", "the pool"),
        ("--same_network", "the pool"),
        ("--gpu_ids 0,1", "--procs"),
        ("--multi-gpu", "--procs"),
        ("--cpu", "separate jobs"),
        ("--deepspeed_hostfile hosts", "--nodes"),
        ("--mpirun_hostfile hosts", "--nodes"),
        ("-m", "script"),
        ("--no_python", "Python"),
        ("--aws_secret_access_key x", "SageMaker"),
        ("--tpu-cluster", "TPU pod"),
        ("-h", "help"),
    ],
)
def test_what_the_pool_decides_names_our_option(line: str, instead: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_passed(line.split())
    assert "is not passed on to accelerate" in caught.value.message
    assert instead in caught.value.hint
    assert not isinstance(caught.value, UnknownOption)


def test_the_option_table_lists_what_may_be_passed() -> None:
    table = option_table()
    assert list(table) == sorted(table)
    assert table["--mixed-precision"].choices == ("no", "fp16", "bf16", "fp8")
    assert table["--mixed-precision"].spellings == ("--mixed-precision", "--mixed_precision")
    assert table["--quiet"].spellings == ("--quiet", "-q")
    assert "inductor" in table["--dynamo-backend"].choices
    assert table["--use-fsdp"].takes == "nothing"
    assert table["--use-fsdp"].help
    assert "--num-processes" not in table
    assert "--cpu" not in table
    assert all(len(option.help) < 80 for option in table.values())


# --- environment -----------------------------------------------------------------------------


def env(name: str, **more: Any) -> dict[str, str]:
    return launch_env(options(name), **{"cpus": 16, **more})


def test_cpu_ranks_are_told_so_and_share_the_cores() -> None:
    assert env("cpu-2") == {
        "ACCELERATE_USE_CPU": "true",
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "8",
        "PYTHONUNBUFFERED": "1",
    }
    assert env("cpu-2", cpus=1)["OMP_NUM_THREADS"] == "1"
    assert "OMP_NUM_THREADS" not in env("cpu-2", cpus=None)


def test_gpu_ranks_keep_accelerates_own_choices() -> None:
    assert env("gpu-8") == {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def test_only_a_single_node_talks_over_loopback() -> None:
    assert "GLOO_SOCKET_IFNAME" not in env("cpu-2-nodes")
    assert env("cpu-2", platform="darwin")["GLOO_SOCKET_IFNAME"] == "lo0"


def test_threads_asked_for_are_threads_given() -> None:
    given = LaunchOptions(
        procs=2, cpu=True, passed=parse_passed(["--num-cpu-threads-per-process=3"])
    )
    assert launch_env(given, cpus=16)["OMP_NUM_THREADS"] == "3"


def test_the_users_variables_stay_but_for_the_one_that_makes_it_right() -> None:
    set_already = {
        "ACCELERATE_USE_CPU": "no",
        "GLOO_SOCKET_IFNAME": "eth0",
        "OMP_NUM_THREADS": "5",
        "PYTHONUNBUFFERED": "",
    }
    assert env("cpu-2", environ=set_already) == {"ACCELERATE_USE_CPU": "true"}
