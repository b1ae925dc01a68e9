"""The counters of one NVIDIA GPU: all that the library tells of it, asked with few calls.

Standard library only, Python 3.8 and later; sent to nodes. A counter that a GPU or its driver does
not have is unknown, costs nothing else, and is asked for again only now and then. What the calls
fill in lies in two arrays that are made once, so that a reading allocates next to nothing.
"""

from __future__ import annotations

import ctypes
import struct
import time
from typing import TYPE_CHECKING, Any, Dict, Sequence

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import nvml
    from jupyter_aiinfra.node.machine import rate
else:  # its neighbours in the payload
    import nvml
    from machine import rate

__all__ = ["Counters", "blank", "reasons"]

_Row = Dict[str, Any]

_ASK_AGAIN_SECONDS = 60.0
# Limits, errors, the memory's clock, encoders and who draws pictures change seldom or interest
# few, and each call is one into the driver.
_SELDOM_SECONDS = 5.0
_FATAL = frozenset((1, 9, 12, nvml.LOST, 18))
_ALL_LINKS = nvml.NONE_32

_PCIE_TX, _PCIE_RX = 197, 198
_LINK_COUNT, _LINK_TX, _LINK_RX = 91, 138, 139
_MOST_LINKS = 36
_DOUBLE, _UINT, _INT = 0, 1, 5
_NARROW = frozenset((_UINT, _INT))
_KIB = frozenset((_LINK_TX, _LINK_RX))
_NO_RATES: dict[str, Any] = {}

# By bit. Bit 0 says that an idle GPU lowers its clocks, which is no throttling.
_REASONS = {
    1: "applications_clocks",
    2: "sw_power_cap",
    3: "hw_slowdown",
    4: "sync_boost",
    5: "sw_thermal",
    6: "hw_thermal",
    7: "hw_power_brake",
    8: "display_clocks",
    9: "board_limit",
    10: "reliability",
}

# Where in the array of 32 bit numbers a call puts its answer, and in that of 64 bit numbers.
_UTIL, _POWER, _LIMIT, _TEMPERATURE, _SM, _MEM, _ENCODER, _DECODER = 0, 2, 3, 4, 5, 6, 7, 9
_REASON, _ECC, _V2, _V1 = 0, 1, 2, 7
_SIZE_32, _SIZE_64 = 11, 10


def blank(uuid: str, name: str, index: int, parent: str | None = None) -> dict[str, Any]:
    """Return what a sample says of a GPU of which nothing more is known."""
    return {
        "uuid": uuid,
        "name": name,
        "index": index,
        "parent": parent,
        "util": None,
        "mem_used": None,
        "mem_total": None,
        "power_w": None,
        "power_limit_w": None,
        "temp_c": None,
        "sm_mhz": None,
        "mem_mhz": None,
        "throttle": None,
        "pcie_rx_bps": None,
        "pcie_tx_bps": None,
        "nvlink_rx_bps": None,
        "nvlink_tx_bps": None,
        "ecc": None,
        "xid": None,
        "enc": None,
        "dec": None,
        "procs": None,
        "lost": False,
    }


class _Counter:
    """One call, or its older forms where the driver does not have it."""

    __slots__ = ("arguments", "forms", "function", "places", "rests", "until")

    def __init__(self, forms: Sequence[Any]) -> None:
        self.forms = list(forms)
        self.rests = False
        self.until = 0.0
        self.take()

    def take(self) -> None:
        self.function, self.arguments, self.places = self.forms[0]


class Counters:
    """Reads one GPU, or one MIG slice of which only memory and processes are told.

    Parameters
    ----------
    library
        The library, initialized.
    handle
        What the library knows the GPU by.
    whole
        Whether this is a whole GPU.
    """

    def __init__(self, library: ctypes.CDLL, handle: ctypes.c_void_p, *, whole: bool) -> None:
        self._library = library
        self._handle = handle
        self._small = (ctypes.c_uint * _SIZE_32)(*[nvml.NONE_32] * _SIZE_32)
        self._large = (ctypes.c_ulonglong * _SIZE_64)(*[nvml.NONE_64] * _SIZE_64)
        self._large[_V2] = nvml.MemoryV2.VERSION
        self._often = [self._memory()]
        self._seldom: list[_Counter] = []
        self._fields: _Fields | None = None
        if whole:
            self._often += self._quick()
            self._seldom += self._slow()
            self._fields = _Fields(library, handle)
        self._next = float("-inf")
        self._computing = _Running(library, handle, "Compute")
        self._others = [_Running(library, handle, kind) for kind in ("MPSCompute", "Graphics")]
        self._other: dict[int, int | None] = {}
        self._pcie: tuple[float, int | None, int | None] | None = None

    def read(self, uuid: str, name: str, index: int, parent: str | None, now: float) -> _Row:
        """Return what a sample says of this one, but for the last XID.

        Its processes are pairs of a number and bytes: whose they are is for others to say.

        Raises
        ------
        nvml.NvmlError
            The GPU is lost, the driver is gone, or nothing of it can be known.
        """
        answers, status = self._ask(self._often, now)
        if now >= self._next:
            self._next = now + _SELDOM_SECONDS
            answers += self._ask(self._seldom, now)[0]
            self._other = {}
            for kind in self._others:
                self._other.update(kind.ask(now) or {})
        running = self._computing.ask(now)
        if not answers and running is None:
            raise nvml.NvmlError("every call", status)
        if self._other and running is not None:
            running = {**self._other, **running}
        small: list[Any] = self._small[:]
        if nvml.NONE_32 in small:
            small = [None if value == nvml.NONE_32 else value for value in small]
        util, _, power, limit, temperature, sm, mem, encoder, _, decoder, _ = small
        reason, ecc, _, total, _, _, used, older, _, older_used = self._large[:]
        if total == nvml.NONE_64:
            used, total = older_used, older
        rates = _NO_RATES if self._fields is None else self._fields.ask(now)
        pcie_tx, pcie_rx = rates.get("pcie_tx"), rates.get("pcie_rx")
        if self._pcie is not None and now - self._pcie[0] < _SELDOM_SECONDS:
            _, pcie_tx, pcie_rx = self._pcie
        return {
            "uuid": uuid,
            "name": name,
            "index": index,
            "parent": parent,
            "util": util if util is None or util <= 100 else None,  # noqa: PLR2004 - per cent
            "mem_used": used if used < nvml.MOST_BYTES else None,
            "mem_total": total if total < nvml.MOST_BYTES else None,
            "power_w": None if power is None else power / 1000,
            "power_limit_w": None if limit is None else limit / 1000,
            "temp_c": temperature,
            "sm_mhz": sm,
            "mem_mhz": mem,
            "throttle": None if reason == nvml.NONE_64 else reasons(reason) if reason else [],
            "pcie_rx_bps": pcie_rx,
            "pcie_tx_bps": pcie_tx,
            "nvlink_rx_bps": rates.get("nvlink_rx"),
            "nvlink_tx_bps": rates.get("nvlink_tx"),
            "ecc": None if ecc == nvml.NONE_64 else ecc,
            "xid": None,
            "enc": encoder if encoder is None or encoder <= 100 else None,  # noqa: PLR2004
            "dec": decoder if decoder is None or decoder <= 100 else None,  # noqa: PLR2004
            "procs": None if running is None else list(running.items()),
            "lost": False,
        }

    @property
    def pcie_missing(self) -> bool:
        """Whether PCIe throughput is only to be had from :meth:`read_pcie`."""
        return self._fields is not None and self._fields.pcie_missing

    def read_pcie(self) -> None:
        """Measure PCIe throughput; the library watches for 20 ms each way."""
        found: list[int | None] = []
        value = ctypes.c_uint()
        for counter in (0, 1):
            arguments = (self._handle, ctypes.c_uint(counter), ctypes.byref(value))
            try:
                nvml.call(self._library, "nvmlDeviceGetPcieThroughput", *arguments)
            except nvml.NvmlError:
                found.append(None)
                continue
            found.append(None if value.value == nvml.NONE_32 else value.value * 1024)
        self._pcie = time.monotonic(), found[0], found[1]

    def _ask(self, counters: list[_Counter], now: float) -> tuple[int, int]:
        answers = last = 0
        for counter in counters:
            if counter.rests and now < counter.until:
                continue
            status = counter.function(*counter.arguments)
            while status:
                last = status
                array, first, end = counter.places
                for place in range(first, end):
                    array[place] = nvml.NONE_32 if array is self._small else nvml.NONE_64
                if status in _FATAL:
                    raise nvml.NvmlError("a call", status)
                if status not in nvml.PERMANENT:
                    break
                if len(counter.forms) == 1:
                    counter.rests, counter.until = True, now + _ASK_AGAIN_SECONDS
                    break
                del counter.forms[0]
                counter.take()
                status = counter.function(*counter.arguments)
            else:
                counter.rests = False
                answers += 1
        return answers, last

    # --- which calls there are ---

    def _counter(self, *forms: tuple[str, tuple[Any, ...], Any, int, int]) -> _Counter:
        made = []
        for name, before, array, first, count in forms:
            function = getattr(self._library, name, None) or _absent
            step = ctypes.sizeof(array._type_)
            # An encoder's use comes with how long it was watched: a second pointer.
            pointers = [ctypes.byref(array, place * step) for place in range(first, first + 1)]
            if name.endswith("coderUtilization"):
                pointers.append(ctypes.byref(array, (first + 1) * step))
            arguments = (self._handle, *before, *pointers)
            made.append((function, arguments, (array, first, first + count)))
        return _Counter(made)

    def _memory(self) -> _Counter:
        v2, v1 = "nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetMemoryInfo"
        counter = self._counter((v2, (), self._large, _V2, 5), (v1, (), self._large, _V1, 3))
        function, arguments, (array, first, end) = counter.forms[0]
        counter.forms[0] = function, arguments, (array, first + 1, end)  # its version stays
        counter.take()
        return counter

    def _quick(self) -> list[_Counter]:
        small = self._small
        sm, core = ctypes.c_uint(1), ctypes.c_uint(0)
        reasons = [
            (f"nvmlDeviceGetCurrentClocks{form}Reasons", (), self._large, _REASON, 1)
            for form in ("Event", "Throttle")
        ]
        return [
            self._counter(("nvmlDeviceGetUtilizationRates", (), small, _UTIL, 2)),
            self._counter(("nvmlDeviceGetPowerUsage", (), small, _POWER, 1)),
            self._counter(("nvmlDeviceGetTemperature", (core,), small, _TEMPERATURE, 1)),
            self._counter(("nvmlDeviceGetClockInfo", (sm,), small, _SM, 1)),
            self._counter(*reasons),
        ]

    def _slow(self) -> list[_Counter]:
        uncorrected, since_boot, mem = ctypes.c_uint(1), ctypes.c_uint(0), ctypes.c_uint(2)
        small = self._small
        ecc = ("nvmlDeviceGetTotalEccErrors", (uncorrected, since_boot), self._large, _ECC, 1)
        return [
            self._counter(("nvmlDeviceGetEnforcedPowerLimit", (), small, _LIMIT, 1)),
            self._counter(("nvmlDeviceGetClockInfo", (mem,), small, _MEM, 1)),
            self._counter(("nvmlDeviceGetEncoderUtilization", (), small, _ENCODER, 2)),
            self._counter(("nvmlDeviceGetDecoderUtilization", (), small, _DECODER, 2)),
            self._counter(ecc),
        ]


def _absent(*_: Any) -> int:
    return nvml.ABSENT


def reasons(bits: int) -> list[str]:
    """Return the words for why clocks are lowered."""
    places = [place for place in range(1, bits.bit_length()) if bits >> place & 1]
    return [_REASONS.get(place, f"reason_{place}") for place in places]


class _Running:
    """The processes of one kind, or ``None`` where the driver does not tell."""

    def __init__(self, library: ctypes.CDLL, handle: Any, kind: str) -> None:
        self._processes = nvml.Processes(library, handle, kind)
        self._until = 0.0

    def ask(self, now: float) -> dict[int, int | None] | None:
        if now < self._until:
            return None
        try:
            return dict(self._processes.ask())
        except nvml.NvmlError as error:
            if error.status in _FATAL:
                raise
            if error.status in nvml.PERMANENT:
                self._until = now + _ASK_AGAIN_SECONDS
            return None


class _Fields:
    """The counters of bytes over PCIe and NVLink, as rates; one call for all of them."""

    def __init__(self, library: ctypes.CDLL, handle: Any) -> None:
        self._function = getattr(library, "nvmlDeviceGetFieldValues", None) or _absent
        self._handle = handle
        self._made = float("-inf")
        self._keys: list[str] = []
        self._values: Any = None
        self._count = ctypes.c_int()
        self._before: dict[str, int] = {}
        self._at = 0.0
        self.pcie_missing = False

    def ask(self, now: float) -> dict[str, int | None]:
        """Return the rates that are known."""
        if now - self._made >= _ASK_AGAIN_SECONDS:
            self._made = now
            self._find()
        if not self._keys:
            return _NO_RATES
        sums = self._sums()
        before, self._before = self._before, sums
        seconds, self._at = now - self._at, now
        rates = {}
        for key, value in sums.items():
            found = rate(value, before.get(key), seconds)
            rates[key] = None if found is None else round(found)
        return rates

    def _find(self) -> None:
        """Find out which fields there are; a sum over all links, or else link by link."""
        self._take([("pcie_tx", _PCIE_TX, 0), ("pcie_rx", _PCIE_RX, 0)])
        kept = self._kept()
        self.pcie_missing = not kept
        links: list[tuple[str, int, int]] = []
        for scopes in ([_ALL_LINKS], None):
            known = range(self._links()) if scopes is None else scopes
            pair = ("nvlink_tx", _LINK_TX), ("nvlink_rx", _LINK_RX)
            self._take([(key, field, link) for link in known for key, field in pair])
            links = self._kept()
            if links:
                break
        self._take(kept + links)

    def _links(self) -> int:
        self._take([("links", _LINK_COUNT, 0)])
        return min(_MOST_LINKS, self._sums().get("links", 0))

    def _take(self, fields: list[tuple[str, int, int]]) -> None:
        self._keys = [key for key, _, _ in fields]
        self._values = (nvml.FieldValue * len(fields))()
        self._count = ctypes.c_int(len(fields))
        for place, (_, field, scope) in enumerate(fields):
            self._values[place].field, self._values[place].scope = field, scope

    def _kept(self) -> list[tuple[str, int, int]]:
        if not self._keys or self._call():
            return []
        answers = zip(self._keys, nvml.FIELD_VALUE.iter_unpack(self._values))
        return [
            (key, field, scope)
            for key, (field, scope, _, _, kind, status, _) in answers
            if status not in nvml.PERMANENT and not _wraps(field, kind)
        ]

    def _call(self) -> int:
        status: int = self._function(self._handle, self._count, self._values)
        if status in _FATAL:
            raise nvml.NvmlError("nvmlDeviceGetFieldValues", status)
        return status

    def _sums(self) -> dict[str, int]:
        if not self._keys or self._call():
            return {}
        sums: dict[str, int] = {}
        incomplete = []
        answers = zip(self._keys, nvml.FIELD_VALUE.iter_unpack(self._values))
        for key, (field, _, _, _, kind, status, bits) in answers:
            if status:
                incomplete.append(key)
                continue
            if kind == _DOUBLE:
                bits = int(struct.unpack("d", struct.pack("Q", bits))[0])  # noqa: PLW2901
            elif kind in _NARROW:
                bits &= nvml.NONE_32  # noqa: PLW2901 - the rest was never written
            if field in _KIB:
                bits <<= 10  # noqa: PLW2901
            sums[key] = sums[key] + bits if key in sums else bits
        for key in incomplete:
            sums.pop(key, None)  # a sum that a link is missing of is no sum
        return sums


def _wraps(field: int, kind: int) -> bool:
    """Whether a counter of bytes has 32 bits, and is round more than once a second."""
    return field in {_PCIE_TX, _PCIE_RX} and kind == _UINT
