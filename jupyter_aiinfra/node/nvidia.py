"""The NVIDIA GPUs of a machine through their library: which there are, and what they do.

Standard library only, Python 3.8 and later; sent to nodes. GPUs are known by UUID, all of them,
whatever ``CUDA_VISIBLE_DEVICES`` says. One that is lost, that hangs or that has vanished stays in
the list: a list that grew shorter would say nothing. When the driver is reloaded the library is
opened anew, which may take some tries.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Dict

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import nvml
    from jupyter_aiinfra.node.counters import Counters, blank
    from jupyter_aiinfra.node.crew import Crew, Errand
else:  # its neighbours in the payload
    import nvml
    from counters import Counters, blank
    from crew import Crew, Errand

__all__ = ["Nvidia"]

_Row = Dict[str, Any]

_LISTED_SECONDS = 10.0
_MOST_PAUSE_SECONDS = 10.0
# Opening the library anew may find a lost GPU again, but is a moment without any.
_LOST_SECONDS = 30.0
_MOST_LOST_SECONDS = 600.0
_PCIE_SECONDS = 5.0
_XID = 8
_MOST_EVENTS = 64
_MOST_SLICES = 16
_MOST_GPUS = 256


class Nvidia:
    """All GPUs of the library.

    Parameters
    ----------
    library
        As :func:`nvml.load` returns it; initialized here.
    replace
        Has another thread call :meth:`sample` in the place of one that is stuck in there; see
        :meth:`look`.
    proc
        Where ``/proc`` is.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        *,
        replace: Callable[[], None] | None = None,
        proc: str = "/proc",
    ) -> None:
        self._library = library
        self._crew = Crew(replace)
        self._opener = Crew()
        self._opening = Errand(self._open)
        self._counting = Errand(self._count)
        self._events = _Events(library)
        self._watching = Errand(self._watch)
        self._opened = False
        self._was_open = False
        self._problem = ""
        self._again = self._pause = 0.0
        self._number = 0
        self._gpus: list[_Gpu] = []
        self._known: dict[str, _Row] = {}
        self._present: list[str] = []
        self._lost_pause = _LOST_SECONDS
        self._reopen_at = float("inf")
        self._bus = os.path.join(proc, "driver/nvidia/gpus")
        self._on_bus: list[str] | None = None
        self._look_at = 0.0
        self._slow: _SlowReader | None = None

    def sample(self, seconds: float) -> tuple[list[_Row], list[str]]:
        """Return what is known within so many `seconds` of each GPU, and what is wrong.

        Raises
        ------
        Abandoned
            Another thread is in the place of this one, which is to end.
        """
        now = time.monotonic()
        if not self._opened and not self._ready(now, seconds):
            return [dict(row) for row in self._known.values()], [self._problem]
        gpus = self._gpus[: self._number]
        errands = [self._counting, *(gpu.errand for gpu in gpus), self._watching]
        in_time = self._crew.run(errands, seconds)[1:-1]
        rows: list[_Row] = []
        problems: list[str] = []
        if self._counting.error is not None:
            self._close(str(self._counting.error))
            problems.append(self._problem)
        errors = []
        for gpu, fresh in zip(gpus, in_time):
            if not fresh:
                problems.append(f"GPU {gpu.index} does not answer")
                rows += gpu.unknown()
            elif gpu.errand.error is None:
                rows += gpu.errand.result
            else:
                errors.append(gpu.errand.error)
                self._failed(gpu, gpu.errand.error, rows, problems)
        self._judge(errors, len(gpus), now)
        self._remember(rows, problems, now)
        for row in rows:
            row["xid"] = self._events.last.get(row["uuid"])
        return rows, problems

    def look(self, seconds: float) -> None:
        """Have the thread replaced that is in the driver since so many seconds, if one is."""
        self._crew.look(seconds)

    # --- opening and closing ---

    def _ready(self, now: float, seconds: float) -> bool:
        if self._opening.began is None and now >= self._again:
            self._opener.run([self._opening], seconds)
        if self._opened:
            return True
        if self._opening.began is not None:
            self._problem = "the GPU driver does not answer"
        elif now >= self._again:
            self._problem = str(self._opening.error)
            self._wait(now)
        return self._opened

    def _open(self) -> None:
        if self._was_open and not self._held:
            # Of no use to a driver that is gone, so whatever it answers.
            function = getattr(self._library, "nvmlShutdown", None)
            if function is not None:
                function()
        self._was_open = False
        nvml.call(self._library, "nvmlInit_v2")
        self._was_open = True
        self._events.forget()
        self._count()
        self._on_bus = self._listed()
        self._reopen_at = float("inf")
        self._opened = True

    @property
    def _held(self) -> bool:
        """Whether a thread is in the library: it must not be closed below it."""
        slow = self._slow is not None and self._slow.busy
        return slow or any(gpu.errand.began is not None for gpu in self._gpus)

    def _close(self, problem: str) -> None:
        self._opened, self._problem = False, problem
        for gpu in self._gpus:
            gpu.forget()

    def _count(self) -> None:
        count = ctypes.c_uint()
        nvml.call(self._library, "nvmlDeviceGetCount_v2", ctypes.byref(count))
        number = min(count.value, _MOST_GPUS)
        if number != self._number:
            for gpu in self._gpus:
                gpu.forget()  # the others may be numbered anew
        while len(self._gpus) < number:
            self._gpus.append(_Gpu(self._library, len(self._gpus)))
        self._number = number

    def _listed(self) -> list[str] | None:
        try:
            return sorted(os.listdir(self._bus))
        except OSError:
            return None

    # --- what comes of it ---

    def _failed(self, gpu: _Gpu, error: Exception, rows: list[_Row], problems: list[str]) -> None:
        lost = isinstance(error, nvml.NvmlError) and error.status == nvml.LOST
        problems.append(f"GPU {gpu.index} is lost" if lost else f"GPU {gpu.index}: {error}")
        for row in gpu.unknown():
            row["lost"] = lost
            rows.append(row)

    def _judge(self, errors: list[Exception], number: int, now: float) -> None:
        """Open the library anew where it is not a GPU that fails but all of them."""
        if number == 0 or len(errors) < number:
            self._pause = 0.0
        elif not all(isinstance(e, nvml.NvmlError) and e.status == nvml.LOST for e in errors):
            self._close(str(errors[0]))
            self._wait(now)

    def _wait(self, now: float) -> None:
        self._pause = min(_MOST_PAUSE_SECONDS, 2 * self._pause or 0.5)
        self._again = now + self._pause

    def _remember(self, rows: list[_Row], problems: list[str], now: float) -> None:
        present = [row["uuid"] for row in rows]
        if not problems and present == self._present and now < self._look_at:
            return
        self._present = present
        for uuid, row in self._known.items():
            if uuid not in present:
                rows.append({**row, "lost": True})
                problems.append(f"GPU {row['index']} has vanished")
        # A slice that is gone was reconfigured.
        self._known.update(
            {
                row["uuid"]: blank(row["uuid"], row["name"], row["index"])
                for row in rows
                if row["parent"] is None and row["uuid"] not in self._known
            }
        )
        if self._opened:
            self._reconsider(rows, now)

    def _reconsider(self, rows: list[_Row], now: float) -> None:
        """Open the library anew where a GPU is missed for long, or the machine has others."""
        if not any(row["lost"] for row in rows):
            self._reopen_at, self._lost_pause = float("inf"), _LOST_SECONDS
        elif self._reopen_at == float("inf"):
            self._reopen_at = now + self._lost_pause
            self._lost_pause = min(_MOST_LOST_SECONDS, 2 * self._lost_pause)
        if now >= self._look_at:
            self._look_at = now + _LISTED_SECONDS
            if self._slow is None and any(gpu.pcie_missing for gpu in self._gpus):
                self._slow = _SlowReader(self._gpus)
            if self._listed() != self._on_bus:
                self._reopen_at = now
        if now >= self._reopen_at and not self._held:
            self._close("the GPU driver is opened anew")

    def _watch(self) -> None:
        self._events.watch({gpu.uuid: gpu.handle for gpu in self._gpus[: self._number]})


class _Gpu:
    """One GPU, and its slices where MIG is on; by its place in the library's list."""

    def __init__(self, library: ctypes.CDLL, index: int) -> None:
        self._library = library
        self.index = index
        self.errand = Errand(self.read)
        self.pcie = Errand(self.read_pcie)
        self.uuid = ""
        self.handle: int | None = None
        self._parts: list[tuple[str, str, int, str | None, Counters]] = []
        self._identify_at = float("-inf")

    def forget(self) -> None:
        """Find out anew, at the next reading, which GPU this is."""
        self._identify_at = float("-inf")

    def unknown(self) -> list[_Row]:
        """Return it and its slices with nothing known of them; none where not even a UUID is."""
        return [blank(*part[:4]) for part in self._parts]

    @property
    def pcie_missing(self) -> bool:
        """Whether PCIe throughput has to be measured for this one, which takes its time."""
        return any(counters.pcie_missing for *_, counters in self._parts[:1])

    def read(self) -> list[_Row]:
        """Read it and its slices.

        Raises
        ------
        nvml.NvmlError
            It is lost, or nothing of it can be known.
        """
        now = time.monotonic()
        if now >= self._identify_at:
            self._identify(now)
        try:
            rows = [
                counters.read(uuid, name, index, parent, now)
                for uuid, name, index, parent, counters in self._parts
            ]
        except nvml.NvmlError:
            self.forget()
            raise
        if rows[1:] and rows[0]["procs"]:
            told = {pid for row in rows[1:] for pid, _ in row["procs"] or ()}
            rows[0]["procs"] = [each for each in rows[0]["procs"] if each[0] not in told]
        return rows

    def read_pcie(self) -> None:
        """Measure its PCIe throughput."""
        for *_, counters in self._parts[:1]:
            counters.read_pcie()

    def _identify(self, now: float) -> None:
        handle = ctypes.c_void_p()
        index = ctypes.c_uint(self.index)
        nvml.call(self._library, "nvmlDeviceGetHandleByIndex_v2", index, ctypes.byref(handle))
        uuid = nvml.text(self._library, "nvmlDeviceGetUUID", handle)
        slices = self._slices(handle)
        old = {part[0]: part for part in self._parts}
        anew = self._identify_at == float("-inf") or handle.value != self.handle
        self.handle, self.uuid = handle.value, uuid
        parts = []
        for number, (known, part) in enumerate([(uuid, handle), *slices]):
            if known in old and not anew:
                parts.append(old[known])
                continue
            name = self._label(part)
            place, parent = (number - 1, uuid) if number else (self.index, None)
            counters = Counters(self._library, part, whole=not number)
            parts.append((known, name, place, parent, counters))
        self._parts = parts
        self._identify_at = now + _LISTED_SECONDS

    def _label(self, handle: ctypes.c_void_p) -> str:
        try:
            return nvml.text(self._library, "nvmlDeviceGetName", handle)
        except nvml.NvmlError:
            return "NVIDIA GPU"

    def _slices(self, handle: ctypes.c_void_p) -> list[tuple[str, ctypes.c_void_p]]:
        current, pending = ctypes.c_uint(), ctypes.c_uint()
        try:
            mode = ctypes.byref(current), ctypes.byref(pending)
            nvml.call(self._library, "nvmlDeviceGetMigMode", handle, *mode)
        except nvml.NvmlError:
            return []
        found = []
        for number in range(_MOST_SLICES if current.value == 1 else 0):
            part = ctypes.c_void_p()
            place = ctypes.c_uint(number)
            try:
                name = "nvmlDeviceGetMigDeviceHandleByIndex"
                nvml.call(self._library, name, handle, place, ctypes.byref(part))
                found.append((nvml.text(self._library, "nvmlDeviceGetUUID", part), part))
            except nvml.NvmlError as error:
                if error.status == nvml.ABSENT:
                    break
        return found


class _Events:
    """The last XID of each GPU since this began; 0 where there was none."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self.last: dict[str, int] = {}
        self._set: ctypes.c_void_p | None = None
        self._watched: dict[int, str] = {}
        self._absent = False

    def forget(self) -> None:
        """Begin with a new set of events; the library has forgotten the old one."""
        self._set, self._watched, self._absent = None, {}, False

    def watch(self, handles: dict[str, Any]) -> None:
        """Take note of the events there were, without waiting for any."""
        if self._absent:
            return
        try:
            if self._set is None:
                made = ctypes.c_void_p()
                nvml.call(self._library, "nvmlEventSetCreate", ctypes.byref(made))
                self._set = made
            for uuid, handle in handles.items():
                if handle is not None and self._watched.get(handle) != uuid:
                    self._register(uuid, handle)
            self._take()
        except nvml.NvmlError as error:
            self._absent = error.status in nvml.PERMANENT

    def _register(self, uuid: str, handle: int) -> None:
        self._watched[handle] = uuid
        arguments = (ctypes.c_void_p(handle), ctypes.c_ulonglong(_XID), self._set)
        try:
            nvml.call(self._library, "nvmlDeviceRegisterEvents", *arguments)
        except nvml.NvmlError:
            return  # of this one it stays unknown
        self.last.setdefault(uuid, 0)

    def _take(self) -> None:
        event = nvml.EventData()
        arguments = (self._set, ctypes.byref(event), ctypes.c_uint(0))
        function = getattr(self._library, "nvmlEventSetWait_v2", None)
        for _ in range(_MOST_EVENTS if self.last else 0):
            if function is None or function(*arguments):
                break
            uuid = self._watched.get(event.device)
            if uuid is not None and event.type == _XID:
                self.last[uuid] = event.data


class _SlowReader:
    """Measures PCIe throughput beside the samples, where it takes 40 ms of each GPU's time."""

    def __init__(self, gpus: list[_Gpu]) -> None:
        self._gpus = gpus
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether a measurement is under way."""
        return any(gpu.pcie.began is not None for gpu in self._gpus)

    def _run(self) -> None:
        crew = Crew()
        while True:
            crew.run([gpu.pcie for gpu in list(self._gpus) if gpu.pcie_missing], _PCIE_SECONDS)
            time.sleep(1.0)
