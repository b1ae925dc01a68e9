"""One machine and one Python, as that Python sees them: ``describe.py [FOLDER]``, one JSON line.

Standard library only, Python 3.8 and later. No package is imported to learn its version, and the
GPUs are asked in a child process: a driver that hangs or a library that crashes costs the GPUs, not
the answer and not the notebook this may be called in. To describe another interpreter, run it with
this file, or with an archive of it and its neighbours (``packed.py``).

======================== =========================================================================
key                      value (``null`` is unknown)
======================== =========================================================================
hostname, platform       the machine's own name; ``sys.platform``
cpus                     cores we may use: affinity and cgroup quota counted in
memory_total_bytes       memory we may use: the cgroup's limit where it is the smaller
memory_available_bytes   what is left of it; page cache counts as free
disk_free_bytes          what we may still write to the file system of FOLDER
python                   executable, version, implementation, packages (*all* distributions),
                         places (folders that they are in, and when each changed)
gpus                     uuid, name, index, memory_total_bytes, memory_used_bytes, used_by of each;
                         used_by is pid, user, command, memory_bytes of each process computing there
driver                   the GPU driver's version
gpu_problem              why there are no GPUs although something of NVIDIA's is here
======================== =========================================================================
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Dict, Iterable, Iterator, List, Optional, Tuple

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import nvml
    from jupyter_aiinfra.node.owners import user_and_command
else:  # its neighbours
    _HERE = os.path.dirname(os.path.abspath(__file__))
    if _HERE not in sys.path:
        sys.path.insert(0, _HERE)
    import nvml
    from owners import user_and_command

__all__ = ["Gpus", "describe", "gpus", "machine", "main", "providers", "python", "stamps"]

_GPU_SECONDS = 20.0  # Without persistence mode the driver may be loading for seconds.
_MIB = 1 << 20
# Above this a version 1 cgroup means "no limit": it rounds the largest number to a page.
_NO_LIMIT_BYTES = 1 << 60

Gpus = Tuple[List[Dict[str, Any]], Optional[str], Optional[str]]


def describe(folder: str = ".", *, root: str = "/") -> dict[str, Any]:
    """Return what this file prints; see its head.

    Parameters
    ----------
    folder
        Where free disk space is looked up; it, or a folder above it, must exist.
    root
        Where ``proc`` and ``sys`` are looked for.
    """
    return {**machine(gpus(), folder, root=root), "python": python()}


def machine(seen: Gpus, folder: str = ".", *, root: str = "/") -> dict[str, Any]:
    """Return what :func:`describe` does, but for the Python; `seen` is what :func:`gpus` said."""
    total, available = _memory(root)
    found, driver, problem = seen
    return {
        "hostname": socket.gethostname(),
        "platform": sys.platform,
        "cpus": _cpus(root),
        "memory_total_bytes": total,
        "memory_available_bytes": available,
        "disk_free_bytes": _disk_free(folder),
        "gpus": found,
        "driver": driver,
        "gpu_problem": problem,
    }


def python() -> dict[str, Any]:
    """Return what this Python is, and has; ``places`` are the folders that told, with a stamp."""
    return {
        "executable": sys.executable,
        "version": ".".join(str(part) for part in sys.version_info[:3]),
        "implementation": {"cpython": "CPython", "pypy": "PyPy"}.get(
            sys.implementation.name, sys.implementation.name
        ),
        "packages": _packages(sys.path),
        "places": stamps(sys.path),
    }


def stamps(path: Iterable[str]) -> dict[str, int | None]:
    """Return when each folder of `path` last changed, in nanoseconds; ``None`` where it is none.

    A package that is installed, upgraded or removed there changes it.
    """
    return {folder: _changed(folder) for folder in path}


def _changed(folder: str) -> int | None:
    try:
        return os.stat(folder or ".").st_mtime_ns
    except OSError:
        return None


def main(argv: list[str] | None = None) -> int:
    """Print the description of this machine, or with ``--gpus`` what NVML says, as one line."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments == ["--gpus"]:
        print(json.dumps(_ask_nvml()))
    elif len(arguments) > 1 or (arguments and arguments[0].startswith("-")):
        print("usage: describe.py [FOLDER]", file=sys.stderr)
        return 2
    else:
        print(json.dumps(describe(*arguments)))
    return 0


# --- Python ----------------------------------------------------------------------------------


def _packages(path: Iterable[str]) -> dict[str, str]:
    """Return the distributions on `path` by normalized name, with their versions.

    The names of their metadata folders say it all: opening each, as importlib.metadata does, would
    cost hundreds of milliseconds. The first on the path counts, as for an import.
    """
    found: dict[str, str] = {}
    for folder, name in _metadata_folders(path):
        stem, _, kind = name.rpartition(".")
        label, _, version = stem.partition("-")
        if kind == "egg-info":
            # name-1.0-py3.8.egg-info, or name.egg-info of a development install.
            version = version.partition("-py")[0] or _header(os.path.join(folder, name), "Version")
        if version:
            found.setdefault(_normalized(label), version)
    return found


def _metadata_folders(path: Iterable[str]) -> Iterator[tuple[str, str]]:
    for folder in path:
        try:
            names = sorted(os.listdir(folder or "."))
        except OSError:  # a zip file, or a folder that is not there
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                yield folder or ".", name


def _header(folder: str, key: str) -> str:
    text = _read(os.path.join(folder, "PKG-INFO")) or ""
    match = re.search("^" + key + r":\s*(\S+)", text, re.MULTILINE)
    return match.group(1) if match else ""


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def providers(
    modules: Iterable[str], *, path: Iterable[str] | None = None
) -> dict[str, tuple[str, ...]]:
    """Return the distributions that each top-level module came with; empty where none is known.

    One of the module's own name answers at once; only for the others are the lists of installed
    files read. (``importlib.metadata.packages_distributions`` reads and parses all of them.)
    """
    folders = list(_metadata_folders(sys.path if path is None else path))
    names = {_normalized(name.partition("-")[0]) for _, name in folders}
    found: dict[str, tuple[str, ...]] = {}
    for module in modules:
        found[module] = (_normalized(module),) if _normalized(module) in names else ()
    wanted = [module for module, known in found.items() if not known]
    for folder, name in folders if wanted else ():
        record = "\n" + (_read(os.path.join(folder, name, "RECORD")) or "")
        for module in wanted:
            if f"\n{module}/" in record or f"\n{module}." in record:
                found[module] += (_normalized(name.partition("-")[0]),)
    return found


# --- machine ---------------------------------------------------------------------------------


def _cpus(root: str) -> int | None:
    try:
        count: int | None = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        count = os.cpu_count()
    quotas = [_quota(folder, version) for folder, version in _cgroups(root, "cpu")]
    # A quota of one and a half cores keeps two busy.
    limits = [max(1, -int(-quota // 1)) for quota in quotas if quota is not None]
    return min([count, *limits]) if count is not None else None


def _quota(folder: str, version: int) -> float | None:
    if version == 2:  # noqa: PLR2004
        words = (_read(os.path.join(folder, "cpu.max")) or "max").split()
        quota, period = words[0], words[-1]
    else:
        quota, period = (
            (_read(os.path.join(folder, f"cpu.cfs_{name}_us")) or "").strip()
            for name in ("quota", "period")
        )
    if not (quota.isdigit() and period.isdigit() and int(period)):
        return None  # "max" and -1 stand for no quota
    return int(quota) / int(period)


def _memory(root: str) -> tuple[int | None, int | None]:
    host = _fields(_read(os.path.join(root, "proc/meminfo")) or "", unit=1024)
    total, available = host.get("MemTotal"), host.get("MemAvailable")
    if total is None and root == "/":
        total = _physical_memory()
    for folder, version in _cgroups(root, "memory"):
        limit, used, cache = (
            ("memory.max", "memory.current", "inactive_file")
            if version == 2  # noqa: PLR2004
            else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        )
        bound = _number(os.path.join(folder, limit))
        if bound is None or bound > _NO_LIMIT_BYTES:
            continue
        total = bound if total is None else min(total, bound)
        taken = _number(os.path.join(folder, used))
        if taken is not None:
            stat = _fields(_read(os.path.join(folder, "memory.stat")) or "", unit=1)
            left = max(0, bound - max(0, taken - stat.get(cache, 0)))
            available = left if available is None else min(available, left)
    return total, available


def _physical_memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _cgroups(root: str, controller: str) -> Iterator[tuple[str, int]]:
    """Yield (folder, version) of each of our cgroups for `controller`, ours and all above it.

    A container often shows its own group as the top while naming it by the host's path, so
    folders that do not exist are passed over and the top is always looked at.
    """
    ours = {}
    for line in (_read(os.path.join(root, "proc/self/cgroup")) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        ours.update(dict.fromkeys(controllers.split(","), path))
    for line in (_read(os.path.join(root, "proc/self/mountinfo")) or "").splitlines():
        before, _, after = line.partition(" - ")
        kind, options = after.split(" ")[0], after.split(" ")[-1].split(",")
        if kind == "cgroup2":
            version, path = 2, ours.get("", "")
        elif kind == "cgroup" and controller in options:
            version, path = 1, ours.get(controller, "")
        else:
            continue
        top = os.path.join(root, before.split(" ")[4].lstrip("/"))
        parts = [part for part in path.split("/") if part]
        for depth in range(len(parts), -1, -1):
            folder = os.path.join(top, *parts[:depth])
            if os.path.isdir(folder):
                yield folder, version


def _fields(text: str, *, unit: int) -> dict[str, int]:
    pairs = re.findall(r"^(\w+):?\s+(\d+)", text, re.MULTILINE)
    return {name: int(value) * unit for name, value in pairs}


def _disk_free(folder: str) -> int | None:
    place = os.path.abspath(folder or ".")
    while not os.path.exists(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None


def _number(path: str) -> int | None:
    text = (_read(path) or "").strip()
    return int(text) if text.isdigit() else None


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None


# --- GPUs ------------------------------------------------------------------------------------


def gpus(program: str | None = None) -> Gpus:
    """Return the NVIDIA GPUs, the driver's version, and what is wrong where there are none.

    Neither waits longer than some seconds nor raises. All GPUs are listed, whatever
    ``CUDA_VISIBLE_DEVICES`` says. `program` is what is run for it, also where this process cannot
    tell whether that is of use; ``None`` is this file.
    """
    problem = None
    if program is not None or nvml.load() is not None:
        argv = [sys.executable, "-I", "-S", program or _program(), "--gpus"]
        answer, problem = _asked(argv)
        if answer is not None:
            found, driver, problem = json.loads(answer)
            if problem is None:
                return found, driver, None
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return [], None, problem
    fields = "index,uuid,name,memory.total,memory.used,driver_version"
    query = "--query-gpu=" + fields
    answer, trouble = _asked([smi, query, "--format=csv,noheader,nounits"])
    if answer is None:
        return [], None, problem or trouble
    found, driver, problem = _from_nvidia_smi(answer)
    if found:
        query = "--query-compute-apps=gpu_uuid,pid,used_memory"
        apps, _ = _asked([smi, query, "--format=csv,noheader,nounits"])
        for uuid, process in _apps(apps or ""):
            for gpu in found:
                if gpu["uuid"] == uuid:
                    gpu["used_by"].append(process)
    return found, driver, problem


def _program() -> str:
    """Return what to run for this program: this file, or the archive that it is in."""
    path = os.path.abspath(__file__)
    return path if os.path.exists(path) else os.path.dirname(path)


def _asked(argv: list[str]) -> tuple[str | None, str | None]:
    """Run `argv`; return its output, or ``None`` and what went wrong."""
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as error:
        return None, f"{argv[0]}: {error.strerror}"
    try:
        output, trouble = process.communicate(timeout=_GPU_SECONDS)
    except subprocess.TimeoutExpired:
        return None, _abandon(process)
    if process.returncode < 0:
        return None, f"the GPU driver's library died of signal {-process.returncode}"
    if process.returncode:
        words = (trouble or output).decode(errors="replace").strip().splitlines()
        return None, words[-1] if words else f"{argv[0]} exits {process.returncode}"
    return output.decode(errors="replace"), None


def _abandon(process: subprocess.Popen[bytes]) -> str:
    process.kill()
    try:
        process.communicate(timeout=1.0)
    except subprocess.TimeoutExpired:
        # Stuck inside the driver, where no signal arrives. Waiting on would hang us as well.
        process.returncode = -9
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    return f"the GPU driver did not answer within {_GPU_SECONDS:g} s"


def _ask_nvml() -> Gpus:
    """Ask the library itself. May hang or crash with it: run in a process of its own."""
    library = nvml.load()
    if library is None:
        return [], None, nvml.LIBRARY + " cannot be loaded"
    try:
        nvml.call(library, "nvmlInit_v2")
        try:
            driver = nvml.text(library, "nvmlSystemGetDriverVersion", size=80)
            count = ctypes.c_uint()
            nvml.call(library, "nvmlDeviceGetCount_v2", ctypes.byref(count))
            found = [_gpu(library, index) for index in range(count.value)]
        finally:
            nvml.call(library, "nvmlShutdown")
    except nvml.NvmlError as error:
        return [], None, str(error)
    # A GPU that has fallen off the bus is no GPU to run on.
    return [gpu for gpu in found if gpu is not None], driver, None


def _gpu(library: ctypes.CDLL, index: int) -> dict[str, Any] | None:
    handle = ctypes.c_void_p()
    try:
        nvml.call(
            library, "nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(handle)
        )
        gpu: dict[str, Any] = {
            "uuid": nvml.text(library, "nvmlDeviceGetUUID", handle),
            "name": nvml.text(library, "nvmlDeviceGetName", handle),
            "index": index,
            "memory_total_bytes": None,
            "memory_used_bytes": None,
            "used_by": _running(library, handle),
        }
    except nvml.NvmlError:
        return None
    memory = nvml.Memory()
    try:
        nvml.call(library, "nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory))
    except nvml.NvmlError:
        return gpu  # chips that share the host's memory have none of their own to tell of
    gpu["memory_total_bytes"], gpu["memory_used_bytes"] = memory.total, memory.used
    return gpu


def _running(library: ctypes.CDLL, handle: ctypes.c_void_p) -> list[dict[str, Any]]:
    """Return the processes that compute on a GPU; none where the driver does not tell."""
    try:
        found = nvml.Processes(library, handle).ask()
    except nvml.NvmlError:
        return []
    return [_process(pid, memory_bytes) for pid, memory_bytes in found]


def _process(pid: int, memory_bytes: int | None) -> dict[str, Any]:
    """Describe a process; whose it is, is unknown where it has ended or is not ours to see."""
    user, command = user_and_command(pid, short=True)
    return {"pid": pid, "user": user, "command": command, "memory_bytes": memory_bytes}


def _apps(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read what nvidia-smi says of the processes that compute, by the GPU's UUID."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 3 and cells[1].isdigit():  # noqa: PLR2004
            uuid, pid, mib = cells
            yield uuid, _process(int(pid), int(mib) * _MIB if mib.isdigit() else None)


def _from_nvidia_smi(text: str) -> Gpus:
    found = []
    driver = None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != 6 or not cells[0].isdigit():  # noqa: PLR2004
            continue
        index, uuid, name, total, used, driver = cells
        gpu: dict[str, Any] = {"uuid": uuid, "name": name, "index": int(index), "used_by": []}
        for key, mib in (("memory_total_bytes", total), ("memory_used_bytes", used)):
            gpu[key] = int(mib) * _MIB if mib.isdigit() else None  # "[N/A]" is unknown
        found.append(gpu)
    problem = None if found else (text.strip().splitlines() or ["nvidia-smi says nothing"])[-1]
    return found, driver, problem


if __name__ == "__main__":
    sys.exit(main())
