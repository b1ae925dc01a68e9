"""GPUs as other programs tell of them: nvidia-smi, amd-smi, rocm-smi, and Linux' own counters.

Standard library only, Python 3.8 and later; sent to nodes. For where NVIDIA's library cannot be
opened, and for AMD. A program that starts anew for each answer costs processor time and may hang,
so one thread asks in its own time, and a sample takes the latest answer there is.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, Sequence

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node.counters import blank, reasons
else:  # its neighbours in the payload
    from counters import blank, reasons

__all__ = ["Drm", "Tool", "amd_smi", "found", "nvidia_smi", "rocm_smi"]

_Row = Dict[str, Any]

_MIB = 1 << 20
_PROGRAM_SECONDS = 20.0
_ANSWER_BYTES = 8 << 20
# Of the time between two answers, what a program may run.
_SHARE = 4.0
_AMD = "0x1002"

_NVIDIA_FIELDS = (
    "uuid",
    "name",
    "index",
    "utilization.gpu",
    "memory.used",
    "memory.total",
    "power.draw",
    "enforced.power.limit",
    "temperature.gpu",
    "clocks.sm",
    "clocks.mem",
    "clocks_throttle_reasons.active",
    "ecc.errors.uncorrected.volatile.total",
)
_CSV = "--format=csv,noheader,nounits"
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


class Tool:
    """Asks programs again and again, in a thread.

    Parameters
    ----------
    name
        What problems call it.
    commands
        The programs to run for an answer.
    read
        What makes rows of their outputs.
    seconds
        How often to ask, if they are quick; at most a quarter of the time they run.
    """

    def __init__(
        self,
        name: str,
        commands: Sequence[Sequence[str]],
        read: Callable[..., list[_Row]],
        *,
        seconds: float,
    ) -> None:
        self._name = name
        self._commands = [list(command) for command in commands]
        self._read = read
        self._seconds = seconds
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._ended = False
        self._rows: list[_Row] = []
        self._problem: str | None = None
        self._until = float("inf")
        self._answered = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def sample(self, seconds: float) -> tuple[list[_Row], list[str]]:
        """Return the latest answer; only for the first one is there any waiting."""
        self._answered.wait(seconds)
        with self._lock:
            rows, problem, stale = self._rows, self._problem, time.monotonic() > self._until
        if not self._answered.is_set() or stale:
            problem = f"{self._name} does not answer"
            rows = [blank(row["uuid"], row["name"], row["index"]) for row in rows]
        return [dict(row) for row in rows], [problem] if problem else []

    def end(self) -> None:
        """Leave no program behind; nothing is asked any more."""
        with self._lock:
            self._ended = True
            if self._running is not None:
                self._running.kill()

    def _run(self) -> None:
        while not self._ended:
            began = time.monotonic()
            rows, problem = self._ask()
            took = time.monotonic() - began
            pause = max(self._seconds - took, _SHARE * took, 0.0)
            with self._lock:
                if problem is not None:
                    rows = [blank(row["uuid"], row["name"], row["index"]) for row in self._rows]
                self._rows, self._problem = rows, problem
                self._until = time.monotonic() + 2 * pause + _PROGRAM_SECONDS / 4
            self._answered.set()
            time.sleep(pause)

    def _ask(self) -> tuple[list[_Row], str | None]:
        outputs = []
        for command in self._commands:
            output, problem = self._output(command)
            if problem is not None:
                return [], problem
            outputs.append(output)
        try:
            return self._read(*outputs), None
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            return [], f"{self._name} answers in a form that is not known here"

    def _output(self, command: list[str]) -> tuple[str, str | None]:
        with self._lock:
            if self._ended:
                return "", "it is over"
            try:
                self._running = process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env={**os.environ, "LC_ALL": "C"},
                )
            except OSError as error:
                return "", f"{self._name}: {error.strerror}"
        timer = threading.Timer(_PROGRAM_SECONDS, process.kill)
        timer.daemon = True
        timer.start()
        try:
            assert process.stdout is not None  # noqa: S101 - made with PIPE above
            data = process.stdout.read(_ANSWER_BYTES)
            process.stdout.close()
            status = process.wait()
        finally:
            timer.cancel()
            with self._lock:
                self._running = None
        if status < 0:
            return "", f"{self._name} does not answer"
        text = data.decode(errors="replace")
        if status:
            said = text.strip().splitlines()
            return "", f"{self._name}: {said[-1][:200] if said else f'it ends with {status}'}"
        return text, None


def found(seconds: float, *, nvidia: bool) -> list[Any]:
    """Return what there is on this machine to ask; NVIDIA's program only if `nvidia`."""
    sources: list[Any] = []
    program = shutil.which("nvidia-smi") if nvidia else None
    if program is not None:
        gpus = [program, "--query-gpu=" + ",".join(_NVIDIA_FIELDS), _CSV]
        processes = [program, "--query-compute-apps=gpu_uuid,pid,used_memory", _CSV]
        sources.append(Tool("nvidia-smi", [gpus, processes], nvidia_smi, seconds=seconds))
    slowly = max(seconds, 2.0)
    program = shutil.which("amd-smi")
    other = shutil.which("rocm-smi")
    if program is not None:
        commands = [[program, "static", "--json"], [program, "metric", "--json"]]
        sources.append(Tool("amd-smi", commands, amd_smi, seconds=slowly))
    elif other is not None:
        asked = ("use", "memuse", "power", "temp", "clocks", "uniqueid", "productname")
        flags = [f"--show{each}" for each in asked]
        command = [other, *flags, "--showmeminfo", "vram", "--showmaxpower", "--json"]
        sources.append(Tool("rocm-smi", [command], rocm_smi, seconds=slowly))
    elif (cards := Drm()).there:
        sources.append(cards)
    return sources


# --- NVIDIA --------------------------------------------------------------------------------------


def nvidia_smi(gpus: str, processes: str = "") -> list[_Row]:
    """Read what nvidia-smi says of GPUs, and of the processes that compute there."""
    rows = []
    for line in gpus.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        # A name may hold a comma: the others are counted from the end.
        after = len(_NVIDIA_FIELDS) - 2
        if len(cells) < len(_NVIDIA_FIELDS) or not cells[-after].isdigit():
            continue
        row = blank(cells[0], ", ".join(cells[1:-after]), int(cells[-after]))
        values = [_number(cell) for cell in cells[-after + 1 :]]
        row["util"], used, total, row["power_w"], row["power_limit_w"] = values[:5]
        row["mem_used"] = None if used is None else int(used * _MIB)
        row["mem_total"] = None if total is None else int(total * _MIB)
        row["temp_c"], row["sm_mhz"], row["mem_mhz"] = values[5:8]
        row["throttle"] = _nvidia_reasons(cells[-2])
        row["ecc"] = values[9]
        row["procs"] = []
        rows.append(row)
    if not rows and gpus.strip() and "No devices" not in gpus:
        raise ValueError(gpus)
    by_uuid = {row["uuid"]: row for row in rows}
    for line in processes.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 3 and cells[1].isdigit() and cells[0] in by_uuid:  # noqa: PLR2004
            mib = _number(cells[2])
            memory = None if mib is None else int(mib * _MIB)
            by_uuid[cells[0]]["procs"].append((int(cells[1]), memory))
    return rows


def _nvidia_reasons(cell: str) -> list[str] | None:
    try:
        return reasons(int(cell, 16))
    except ValueError:  # "[N/A]", "[Not Supported]"
        return None


def _number(cell: Any) -> Any:
    """Return the number at the beginning of `cell`, or ``None``: "[N/A]", "N/A (secondary die)"."""
    if isinstance(cell, (int, float)) and not isinstance(cell, bool):
        return cell
    match = _NUMBER.match(cell.strip()) if isinstance(cell, str) else None
    if match is None:
        return None
    return float(match.group()) if "." in match.group() else int(match.group())


# --- AMD -----------------------------------------------------------------------------------------


def amd_smi(static: str, metric: str) -> list[_Row]:
    """Read ``amd-smi static --json`` and ``amd-smi metric --json``."""
    told = {each["gpu"]: each for each in _listed(static)}
    rows = []
    for each in _listed(metric):
        number = each["gpu"]
        about = told.get(number, {})
        asic = _table(about, "asic")
        ids = (asic.get("asic_serial"), _table(about, "bus").get("bdf"), number)
        serial = next(each for each in ids if each not in {None, "", "N/A"})
        name = asic.get("market_name")
        row = blank(f"AMD-{serial}", "AMD GPU" if name in {None, "N/A"} else name, int(number))
        usage, power, memory = (_table(each, key) for key in ("usage", "power", "mem_usage"))
        clocks, heat = _table(each, "clock"), _table(each, "temperature")
        limit = _table(about, "limit")
        row["util"] = _amount(usage.get("gfx_activity"))
        row["mem_used"] = _bytes(memory.get("used_vram"))
        row["mem_total"] = _bytes(memory.get("total_vram"))
        row["power_w"] = _first(power, "socket_power", "current_socket_power", "average_power")
        row["power_limit_w"] = _first(limit, "socket_power", "max_power", "power_cap")
        row["temp_c"] = _first(heat, "hotspot", "edge", "mem")
        row["sm_mhz"] = _amount(_table(clocks, "gfx_0", "gfx").get("clk"))
        row["mem_mhz"] = _amount(_table(clocks, "mem_0", "mem").get("clk"))
        row["ecc"] = _amount(_table(each, "ecc").get("total_uncorrectable_count"))
        rows.append(row)
    return rows


def rocm_smi(output: str) -> list[_Row]:
    """Read ``rocm-smi --json``."""
    # Warnings come before it on some versions.
    told: dict[str, Any] = json.loads(output[max(0, output.find("{")) :])
    rows = []
    for name, card in sorted(told.items()):
        if not name.startswith("card"):
            continue
        number = int(name[4:])
        label = card.get("Card Series") or card.get("Card series") or "AMD GPU"
        row = blank(f"AMD-{card.get('Unique ID') or number}", str(label), number)
        row["util"] = _first(card, "GPU use (%)")
        row["mem_used"] = _first(card, "VRAM Total Used Memory (B)")
        row["mem_total"] = _first(card, "VRAM Total Memory (B)")
        row["power_w"] = _first(
            card, "Current Socket Graphics Package Power (W)", "Average Graphics Package Power (W)"
        )
        row["power_limit_w"] = _first(card, "Max Graphics Package Power (W)")
        row["temp_c"] = _first(
            card, "Temperature (Sensor junction) (C)", "Temperature (Sensor edge) (C)"
        )
        row["sm_mhz"] = _clock(card.get("sclk clock speed:"))
        row["mem_mhz"] = _clock(card.get("mclk clock speed:"))
        rows.append(row)
    return rows


def _listed(text: str) -> list[dict[str, Any]]:
    told = json.loads(text)
    if isinstance(told, dict):  # since ROCm 6.4
        told = told["gpu_data"]
    return [each for each in told if isinstance(each, dict)]


def _table(told: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return the first of these tables that is there: "N/A" may stand for a whole one."""
    tables = (told.get(name) for name in names)
    return next((table for table in tables if isinstance(table, dict)), {})


def _amount(value: Any) -> Any:
    """Return what ``{"value": 3, "unit": "W"}`` says, or a bare number, or ``None``."""
    return _number(value.get("value") if isinstance(value, dict) else value)


def _bytes(value: Any) -> int | None:
    amount = _amount(value)
    unit = str(value.get("unit") if isinstance(value, dict) else "MB").upper()
    factor = {"B": 1, "KB": 1024, "MB": _MIB, "MIB": _MIB, "GB": 1024 * _MIB}.get(unit)
    return None if amount is None or factor is None else int(amount * factor)


def _first(told: dict[str, Any], *names: str) -> Any:
    for name in names:
        value = _amount(told.get(name))
        if value is not None:
            return value
    return None


def _clock(text: Any) -> int | None:
    match = re.search(r"(\d+)\s*Mhz", str(text), re.IGNORECASE)
    return int(match.group(1)) if match else None


class Drm:
    """AMD's GPUs as the kernel tells of them, where none of AMD's programs is."""

    def __init__(self, root: str = "/") -> None:
        self._folder = os.path.join(root, "sys/class/drm")
        self._cards = list(self._find())

    @property
    def there(self) -> bool:
        """Whether there is any."""
        return bool(self._cards)

    def sample(self, seconds: float) -> tuple[list[_Row], list[str]]:
        """Return what they do now."""
        del seconds  # files of the kernel's own: nothing to wait for
        return [self._row(number, folder) for number, folder in enumerate(self._cards)], []

    def end(self) -> None:
        """Leave nothing behind: there is nothing."""

    def _find(self) -> Iterator[str]:
        try:
            names = os.listdir(self._folder)
        except OSError:
            return
        cards = [name for name in names if re.match(r"card\d+$", name)]
        for name in sorted(cards, key=lambda name: int(name[4:])):
            folder = os.path.join(self._folder, name, "device")
            if _word(folder, "vendor") == _AMD and _word(folder, "mem_info_vram_total"):
                yield folder

    def _row(self, number: int, folder: str) -> _Row:
        address = os.path.basename(os.path.realpath(folder))
        uuid = _word(folder, "unique_id") or address
        row = blank(f"AMD-{uuid}", _word(folder, "product_name") or "AMD GPU", number)
        row["util"] = _number(_word(folder, "gpu_busy_percent"))
        row["mem_used"] = _number(_word(folder, "mem_info_vram_used"))
        row["mem_total"] = _number(_word(folder, "mem_info_vram_total"))
        sensors = os.path.join(folder, "hwmon")
        try:
            sensors = os.path.join(sensors, min(os.listdir(sensors)))
        except (OSError, ValueError):
            return row
        power = _word(sensors, "power1_average") or _word(sensors, "power1_input")
        for key, word, unit in (
            ("power_w", power, 1e6),
            ("power_limit_w", _word(sensors, "power1_cap"), 1e6),
            ("temp_c", _word(sensors, "temp1_input"), 1e3),
            ("sm_mhz", _word(sensors, "freq1_input"), 1e6),
            ("mem_mhz", _word(sensors, "freq2_input"), 1e6),
        ):
            value = _number(word)
            row[key] = None if value is None else value / unit
        return row


def _word(folder: str, name: str) -> str | None:
    try:
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
            return file.read().strip() or None
    except OSError:
        return None
