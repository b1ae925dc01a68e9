"""From options to argv, environment and files of one launch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jupyter_aiinfra.accelerate.options import names_in, value_in, without
from jupyter_aiinfra.errors import UsageError

__all__ = ["LaunchOptions", "config_path", "launch_argv", "launch_env", "launch_files"]

_NEUTRAL_CONFIG = {
    "compute_environment": "LOCAL_MACHINE",
    "debug": False,
    "distributed_type": "NO",
    "mixed_precision": "no",
    "use_cpu": False,
}

_OWN_LAUNCHER = frozenset({"tpu", "use_deepspeed", "use_fsdp", "use_megatron_lm"})
_OWN_LAUNCHER_TYPES = frozenset({"DEEPSPEED", "FSDP", "MEGATRON_LM", "TPU", "XLA"})


@dataclass(frozen=True, kw_only=True)
class LaunchOptions:
    """What to launch, independent of where.

    Parameters
    ----------
    procs
        Ranks on each node.
    elastic
        Whether an attempt may run on fewer nodes: how many is filled in there then.
    cpu
        Whether the ranks compute on CPUs.
    passed
        Accelerate's own options, as :func:`parse_passed` returned them.
    config_text
        Content of the user's ``--config_file``, for the caller that read it (the file is then
        shipped). Where it is ``None`` the file is looked for on the node and, since what it
        selects is not known here, a launch of several ranks is left to it.
    """

    procs: int
    nodes: int = 1
    elastic: bool = False
    cpu: bool
    passed: tuple[str, ...] = ()
    config_text: str | None = None

    def __post_init__(self) -> None:
        for option, value in (("--procs", self.procs), ("--nodes", self.nodes)):
            if value < 1:
                raise UsageError(f"{option} {value}: a launch needs at least 1")
        if _config_value(self.config_text, "compute_environment") == "AMAZON_SAGEMAKER":
            raise UsageError(
                f"{config_path(self.passed)} describes a SageMaker job, and would start one",
                hint="write a file for this machine with `accelerate config`",
            )

    @property
    def world(self) -> int:
        """Ranks over all nodes."""
        return self.procs * self.nodes


def config_path(passed: Sequence[str]) -> str | None:
    """Return the user's ``--config_file``, or ``None``."""
    return value_in(passed, "config_file")


def launch_files(options: LaunchOptions) -> dict[str, bytes]:
    """Return what :func:`launch_argv` expects in the run directory, by relative path.

    Empty where the user's configuration file is looked for on the node.
    """
    if options.config_text is not None:
        return {_config_name(options): options.config_text.encode()}
    if config_path(options.passed) is not None:
        return {}
    return {_config_name(options): json.dumps(_NEUTRAL_CONFIG, indent=1).encode() + b"\n"}


def launch_argv(
    options: LaunchOptions, *, python: str, script: str, script_args: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the argv that each node runs.

    It is the same on all nodes: ``${AIINFRA_NODE_RANK}``, ``${AIINFRA_HEAD}``, ``${AIINFRA_PORT}``
    and ``${AIINFRA_RUN_DIR}`` stand for what the rank contract fills in there. The files of
    :func:`launch_files` must be in the run directory.
    """
    names = names_in(options.passed)
    own_config = config_path(options.passed) is not None
    argv = [python, "-m", "accelerate.commands.launch"]
    if own_config and options.config_text is None:
        argv += options.passed
    else:
        argv += without(options.passed, "config_file")
        argv += ["--config_file", "${AIINFRA_RUN_DIR}/" + _config_name(options)]
    argv += _selection(options)
    if options.elastic:
        argv += ["--num_machines", "${AIINFRA_NODE_COUNT}"]
        argv += ["--num_processes", "${AIINFRA_WORLD_SIZE}"]
    else:
        argv += ["--num_machines", str(options.nodes), "--num_processes", str(options.world)]
    argv += ["--machine_rank", "${AIINFRA_NODE_RANK}"]
    argv += ["--main_process_ip", "${AIINFRA_HEAD}", "--main_process_port", "${AIINFRA_PORT}"]
    if own_config:
        argv += ["--gpu_ids", "all"]  # all that the pool shows the job
    else:
        # Said even where it is the default: Accelerate warns about each one left out.
        for name in ("mixed_precision", "dynamo_backend"):
            if name not in names:
                argv += [f"--{name}", "no"]
    if options.nodes > 1 and ("use_deepspeed" in names or own_config):
        argv += ["--deepspeed_multinode_launcher", "standard"]
    return (*argv, script, *script_args)


def launch_env(
    options: LaunchOptions,
    *,
    cpus: int | None,
    environ: Mapping[str, str] | None = None,
    platform: str = "linux",
) -> dict[str, str]:
    """Return the variables that the launch needs on each node.

    Parameters
    ----------
    cpus
        Cores of a node that the ranks may use; ``None`` lets Accelerate count them there.
    environ
        What the user set: none of it is overridden, but for what makes CPU training correct.
    platform
        ``sys.platform`` of the nodes.
    """
    wanted = {"PYTHONUNBUFFERED": "1"}
    threads = value_in(options.passed, "num_cpu_threads_per_process")
    if threads is not None:
        wanted["OMP_NUM_THREADS"] = threads
    elif not options.cpu:
        # Accelerate's own choice on GPUs; said here, torchrun need not warn about it.
        wanted["OMP_NUM_THREADS"] = "1"
    elif cpus is not None:
        wanted["OMP_NUM_THREADS"] = str(max(1, cpus // options.procs))
    if options.cpu and options.nodes == 1:
        # Left alone gloo binds to whatever the host's own name resolves to, if it resolves.
        wanted["GLOO_SOCKET_IFNAME"] = "lo0" if platform == "darwin" else "lo"
    env = {name: value for name, value in wanted.items() if name not in (environ or {})}
    if options.cpu:
        env["ACCELERATE_USE_CPU"] = "true"
    return env


def _selection(options: LaunchOptions) -> list[str]:
    names = names_in(options.passed)
    if "mpirun_hostfile" in names:
        # mpirun is reached through the launcher that --cpu selects.
        return ["--cpu"] if options.cpu else []
    kind = _config_value(options.config_text, "distributed_type")
    if names & _OWN_LAUNCHER or kind in _OWN_LAUNCHER_TYPES:
        return []
    if options.world == 1:
        return ["--cpu"] if options.cpu else []
    unread = config_path(options.passed) is not None and options.config_text is None
    # --multi_gpu would silently undo an FSDP chosen by a file we have not seen. Without it the
    # worst is a launch of too few ranks, and that is noticed before user code runs.
    return [] if unread else ["--multi_gpu"]


def _config_name(options: LaunchOptions) -> str:
    # The ending tells Accelerate how to read the file.
    path = config_path(options.passed)
    return "accelerate.yaml" if path and not path.endswith(".json") else "accelerate.json"


def _config_value(text: str | None, key: str) -> str | None:
    """Return a top-level word of a configuration file: JSON, or the plain YAML that is written."""
    if text is None:
        return None
    if text.lstrip().startswith("{"):
        try:
            value = json.loads(text).get(key)
        except json.JSONDecodeError:
            return None
        return value if isinstance(value, str) else None
    found = re.search(rf"^{key}\s*:\s*[\"']?(\w+)", text, re.MULTILINE)
    return found[1] if found else None
