"""Accelerate's own options: which there are, which may be passed on, and reading them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from jupyter_aiinfra.errors import UnknownOption, UsageError, did_you_mean

__all__ = ["OptionInfo", "Takes", "names_in", "option_table", "parse_passed", "value_in", "without"]

Takes = Literal["nothing", "text", "int", "float", "anything-is-true"]

# What argparse takes for a value although it begins with a dash.
_DASHED_VALUE = re.compile(r"-\d+|-\d*\.\d+|-|-.* .*", re.DOTALL)

_SWITCHES = """
    debug downcast_bf16 dynamo_use_dynamic dynamo_use_fullgraph dynamo_use_regional_compilation
    enable_cpu_affinity fp8_use_autocast_during_eval quiet tpu use_deepspeed use_fsdp
    use_megatron_lm use_parallelism_config
"""
_INTS = """
    fp8_amax_history_len fp8_interval fp8_margin fsdp_min_num_params gradient_accumulation_steps
    megatron_lm_context_parallel_size megatron_lm_decoder_last_pipeline_num_layers
    megatron_lm_expert_model_parallel_size megatron_lm_expert_tensor_parallel_size
    megatron_lm_num_micro_batches megatron_lm_pp_degree megatron_lm_recompute_num_layers
    megatron_lm_tp_degree num_cpu_threads_per_process parallelism_config_cp_size
    parallelism_config_dp_replicate_size parallelism_config_dp_shard_size
    parallelism_config_sp_size parallelism_config_tp_size zero_stage
"""
_FLOATS = """
    gradient_clipping megatron_lm_attention_dropout megatron_lm_gradient_clipping
    megatron_lm_hidden_dropout monitor_interval
"""
_TEXTS = """
    config_file deepspeed_config_file deepspeed_moe_layer_cls_names
    fp8_enable_fsdp_float8_all_gather fp8_override_linear_precision fp8_pad_inner_dim
    fsdp_activation_checkpointing fsdp_activation_checkpointing_offload fsdp_auto_wrap_policy
    fsdp_backward_prefetch fsdp_cpu_ram_efficient_loading fsdp_forward_prefetch
    fsdp_offload_params fsdp_reshard_after_forward fsdp_sharding_strategy fsdp_state_dict_type
    fsdp_sync_module_states fsdp_transformer_layer_cls_to_wrap fsdp_use_orig_params log_dir
    main_training_function megatron_lm_attention_backend megatron_lm_attention_softmax_in_fp32
    megatron_lm_calculate_per_token_loss megatron_lm_recompute_activations
    megatron_lm_recompute_granularity megatron_lm_recompute_method
    megatron_lm_sequence_parallelism megatron_lm_use_distributed_optimizer
    megatron_lm_use_rotary_position_embeddings offload_optimizer_device
    offload_optimizer_nvme_path offload_param_device offload_param_nvme_path
    parallelism_config_cp_comm_strategy parallelism_config_sp_attn_implementation
    parallelism_config_sp_seq_length role tee zero3_init_flag zero3_save_16bit_model
"""
# Declared with ``type=bool``: every word but the empty one, ``false`` too, is read as true.
_ANYTHING_IS_TRUE = """
    megatron_lm_eod_mask_loss megatron_lm_no_load_optim megatron_lm_no_save_optim
    megatron_lm_optimizer_cpu_offload megatron_lm_overlap_cpu_optimizer_d2h_h2d
    megatron_lm_use_custom_fsdp megatron_lm_use_precision_aware_optimizer
    parallelism_config_sp_seq_length_is_variable
"""
_CHOICES = {
    "dynamo_backend": "no eager aot_eager inductor aot_ts_nvfuser nvprims_nvfuser cudagraphs ofi "
    "fx2trt onnxrt tensorrt aot_torchxla_trace_once torhchxla_trace_once tvm",
    "dynamo_mode": "default reduce-overhead max-autotune",
    "fp8_amax_compute_algo": "max most_recent",
    "fp8_backend": "ao te msamp",
    "fp8_format": "HYBRID E4M3 E5M2",
    "fp8_opt_level": "O1 O2",
    "fsdp_version": "1 2",
    "mixed_precision": "no fp16 bf16 fp8",
    "parallelism_config_cp_backend": "torch",
    "parallelism_config_sp_backend": "deepspeed",
}
_SHORT = {"help": "-h", "module": "-m", "quiet": "-q", "tee": "-t"}

_HELP = {
    "config_file": "settings written by `accelerate config`; world size and addresses stay ours",
    "debug": "check the shapes given to collective operations; show launcher traces in full",
    "deepspeed_config_file": "DeepSpeed's own JSON settings; a path on the node",
    "downcast_bf16": "on TPUs, store doubles as well as floats in bfloat16",
    "dynamo_backend": "compile the model with torch.compile and this backend",
    "dynamo_mode": "what torch.compile optimises for",
    "enable_cpu_affinity": "pin each rank to the cores near its GPU",
    "fp8_backend": "library for 8-bit floats; goes with --mixed-precision fp8",
    "fsdp_auto_wrap_policy": "how FSDP splits the model: TRANSFORMER_BASED_WRAP, SIZE_BASED_WRAP",
    "fsdp_offload_params": "true keeps FSDP's parameters and gradients in host memory",
    "fsdp_reshard_after_forward": "FSDP 2: true frees gathered weights after the forward pass",
    "fsdp_sharding_strategy": "FSDP 1: FULL_SHARD, SHARD_GRAD_OP, NO_SHARD, HYBRID_SHARD",
    "fsdp_state_dict_type": "shape of FSDP checkpoints: FULL_STATE_DICT or SHARDED_STATE_DICT",
    "fsdp_transformer_layer_cls_to_wrap": "class names of the layers that FSDP shards one by one",
    "fsdp_version": "which generation of FSDP",
    "gradient_accumulation_steps": "DeepSpeed: batches added up before each optimizer step",
    "gradient_clipping": "DeepSpeed: largest norm of the gradient",
    "mixed_precision": "number format of the forward pass",
    "num_cpu_threads_per_process": "threads of a rank for CPU work (OMP_NUM_THREADS)",
    "offload_optimizer_device": "DeepSpeed: where the optimizer's state lives: none, cpu, nvme",
    "offload_param_device": "DeepSpeed ZeRO 3: where the weights live: none, cpu, nvme",
    "quiet": "leave the launcher's own trace out when a rank fails",
    "tpu": "train on the TPU of the node",
    "use_deepspeed": "train with DeepSpeed",
    "use_fsdp": "shard the model with PyTorch's fully sharded data parallelism",
    "use_megatron_lm": "train with Megatron-LM",
    "use_parallelism_config": "several kinds of parallelism at once; needs FSDP 2",
    "zero_stage": "DeepSpeed: what is sharded: 1 optimizer, 2 gradients too, 3 weights too",
}

_LEAVE_OUT = "leave it out: the pool gives each node its number, the head's address and a port"
_ONE_LAUNCHER = "leave it out: each node of the pool starts its own ranks; --nodes says how many"
_NO_TPU_POD = "leave it out: a TPU pod is not a pool of ours"
_NO_SAGEMAKER = "leave it out: SageMaker is not a pool of ours"
_INSTEAD = {
    "aws_access_key_id": _NO_SAGEMAKER,
    "aws_secret_access_key": _NO_SAGEMAKER,
    "cpu": "leave it to the pool: a rank is told to stay on the CPU without this switch, which "
    "would start separate jobs",
    "deepspeed_exclusion_filter": _ONE_LAUNCHER,
    "deepspeed_hostfile": _ONE_LAUNCHER,
    "deepspeed_inclusion_filter": _ONE_LAUNCHER,
    "deepspeed_multinode_launcher": _ONE_LAUNCHER,
    "env": _NO_TPU_POD,
    "gpu_ids": "use --procs N: the pool chooses N free GPUs on each node",
    "help": "see the help of the command itself",
    "machine_rank": _LEAVE_OUT,
    "main_process_ip": _LEAVE_OUT,
    "main_process_port": "use --port N",
    "max_restarts": "use --max-restarts N",
    "module": "leave it out: what is launched is the cell or the script named",
    "mpirun_hostfile": _ONE_LAUNCHER,
    "multi_gpu": "use --procs N: more than one rank is always a distributed launch",
    "no_python": "leave it out: what is launched is Python",
    "no_tpu_cluster": _NO_TPU_POD,
    "num_machines": "use --nodes N",
    "num_processes": "use --procs N, the ranks on each node",
    "rdzv_backend": _LEAVE_OUT,
    "rdzv_conf": _LEAVE_OUT,
    "same_network": _LEAVE_OUT,
    "tpu_cluster": _NO_TPU_POD,
    "tpu_use_sudo": _NO_TPU_POD,
    "vm": _NO_TPU_POD,
}
_INSTEAD_SWITCHES = """
    cpu help module multi_gpu no_python no_tpu_cluster same_network tpu_cluster tpu_use_sudo
"""


@dataclass(frozen=True, kw_only=True)
class OptionInfo:
    """One option of ``accelerate launch``.

    ``instead`` is empty for an option that is passed on; else the option is not the user's to give
    and ``instead`` says what is.
    """

    name: str
    takes: Takes = "text"
    choices: tuple[str, ...] = ()
    help: str = ""
    short: str | None = None
    instead: str = ""

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every way to write it, the hyphenated one first."""
        both = {f"--{self.name.replace('_', '-')}": None, f"--{self.name}": None}
        return (*both, self.short) if self.short else tuple(both)


def option_table() -> Mapping[str, OptionInfo]:
    """Return the options that may be passed on, by their hyphenated spelling, sorted."""
    table = {option.spellings[0]: option for option in _options() if not option.instead}
    return MappingProxyType(dict(sorted(table.items())))


def parse_passed(words: Sequence[str], *, ours: Iterable[str] = ()) -> tuple[str, ...]:
    """Check `words`, options for Accelerate, and return them as given.

    What follows a bare ``--`` is returned unchecked (without the ``--``), for options newer than
    our table; what the pool decides still wins over it. `ours` are the caller's own options, named
    in a suggestion when a misspelt word is near to one of them.

    Raises
    ------
    UnknownOption
        An option that Accelerate 1.15 has not.
    UsageError
        A missing or impossible value, a word that is no option, or an option that is decided by
        the pool; the hint then names the option of ours to use.
    """
    known = {spelling: option for option in _options() for spelling in option.spellings}
    passed: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            return (*passed, *left)
        flag, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if not flag.startswith("-"):
            raise UsageError(
                f"{word!r} is neither an option nor the value of one",
                hint="a value with spaces goes into quotes",
            )
        option = known.get(flag)
        if option is None:
            raise UnknownOption(
                flag,
                _candidates(flag, ours),
                otherwise="see --help; what follows a bare -- goes to accelerate unchanged",
            )
        if option.instead:
            raise UsageError(f"{flag} is not passed on to accelerate", hint=option.instead)
        passed.append(word)
        if option.takes == "nothing":
            if equals:
                raise UsageError(f"{flag} takes no value, got {value!r}")
            continue
        if not equals:
            if not left or (left[0].startswith("-") and not _DASHED_VALUE.fullmatch(left[0])):
                raise UsageError(f"{flag} needs a value", hint=_expected(option))
            value = left.pop(0)
            passed.append(value)
        _check_value(flag, option, value)
    return tuple(passed)


def names_in(passed: Sequence[str]) -> frozenset[str]:
    """Return the names of the long options in `passed`, with underscores."""
    return frozenset(
        word[2:].partition("=")[0].replace("-", "_") for word in passed if word.startswith("--")
    )


def _positions(passed: Sequence[str], name: str) -> list[tuple[int, int]]:
    # Where the option `name` and its value stand: (first word, one past the last).
    found = []
    for index, word in enumerate(passed):
        if word.startswith("--") and word[2:].partition("=")[0].replace("-", "_") == name:
            found.append((index, index + 1 if "=" in word else index + 2))
    return found


def value_in(passed: Sequence[str], name: str) -> str | None:
    """Return the last value given to the option `name`, or ``None``."""
    value = None
    for first, end in _positions(passed, name):
        words = passed[first:end]
        value = words[1] if len(words) > 1 else words[0].partition("=")[2]
    return value


def without(passed: Sequence[str], name: str) -> list[str]:
    """Return `passed` without the option `name` and its value."""
    gone = {index for first, end in _positions(passed, name) for index in range(first, end)}
    return [word for index, word in enumerate(passed) if index not in gone]


@functools.cache
def _options() -> tuple[OptionInfo, ...]:
    takes: dict[str, Takes] = dict.fromkeys((*_TEXTS.split(), *_CHOICES), "text")
    takes |= dict.fromkeys(_INTS.split(), "int")
    takes |= dict.fromkeys(_FLOATS.split(), "float")
    takes |= dict.fromkeys(_ANYTHING_IS_TRUE.split(), "anything-is-true")
    takes |= dict.fromkeys(_INSTEAD, "text")
    takes |= dict.fromkeys((*_SWITCHES.split(), *_INSTEAD_SWITCHES.split()), "nothing")
    return tuple(
        OptionInfo(
            name=name,
            takes=kind,
            choices=tuple(_CHOICES.get(name, "").split()),
            help=_HELP.get(name, ""),
            short=_SHORT.get(name),
            instead=_INSTEAD.get(name, ""),
        )
        for name, kind in sorted(takes.items())
    )


def _candidates(flag: str, ours: Iterable[str]) -> list[str]:
    # In the spelling that the user chose, so that the nearest word is the one meant.
    names = [option.name for option in _options()]
    if "_" not in flag:
        names = [name.replace("_", "-") for name in names]
    return [*ours, *(f"--{name}" for name in names)]


def _expected(option: OptionInfo) -> str:
    if option.choices:
        return f"one of {', '.join(option.choices)}"
    return {"int": "a whole number", "float": "a number"}.get(option.takes, "")


def _check_value(flag: str, option: OptionInfo, value: str) -> None:
    if option.choices and value not in option.choices:
        raise UsageError(
            f"{flag} {value!r}: expected {_expected(option)}",
            hint=did_you_mean(value, option.choices),
        )
    if option.takes == "anything-is-true" and value.lower() in {"0", "f", "false", "n", "no"}:
        raise UsageError(
            f"{flag} {value!r}: accelerate reads every word here as true",
            hint=f"{flag}= (with nothing after the =) is false",
        )
    number = {"int": int, "float": float}.get(option.takes)
    if number is None:
        return
    try:
        number(value)
    except ValueError:
        raise UsageError(f"{flag} {value!r}: expected {_expected(option)}") from None
