"""From options to the argv of a real ``accelerate launch``: pure, nothing is run or read here.

What Accelerate 1.15 does with an option is not always what its name says. Decided here, and held
by golden files and by tests against its own parser and launchers:

- ``--cpu`` starts *one* process a machine whatever ``--num_processes`` says: several ranks on
  CPUs would train separate models and exit 0. So ``--multi_gpu`` (it selects torchrun, also with
  no GPU) and ``ACCELERATE_USE_CPU=true`` where there are several ranks; ``--cpu`` for one rank
  only, where leaving it out would have Accelerate overwrite that variable with ``False``.
- ``--use_deepspeed``, ``--use_fsdp``, ``--use_megatron_lm``, ``--tpu`` and ``--mpirun_hostfile``
  select a launcher of their own; a second selection is refused, so ``--multi_gpu`` is left out.
- DeepSpeed on several machines would reach the others itself, over pdsh. Here each node runs its
  own launcher, so the multi-node launcher is always the ``standard`` one.
- The ``accelerate config`` of whoever owns the node is read when no ``--config_file`` is named. It
  may select DeepSpeed, mpirun or SageMaker for a job that never asked. So a file is always named:
  the user's own, or a neutral one that travels with the job (:func:`launch_files`). Either may
  supply precision and the like, but world size, rendezvous and GPUs stand on the command line,
  which wins over any file, and come last there, where the last word of an option wins.
"""

from __future__ import annotations

from jupyter_aiinfra.accelerate.launch import (
    LaunchOptions,
    config_path,
    launch_argv,
    launch_env,
    launch_files,
)
from jupyter_aiinfra.accelerate.options import OptionInfo, option_table, parse_passed, value_in

__all__ = [
    "LaunchOptions",
    "OptionInfo",
    "config_path",
    "launch_argv",
    "launch_env",
    "launch_files",
    "option_table",
    "parse_passed",
    "value_in",
]
