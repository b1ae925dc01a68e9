"""NVIDIA's management library as ctypes sees it: what of it is declared, and how it is called.

Standard library only, Python 3.8 and later; sent to nodes. Whoever asks decides what a refusal
costs: here a call either answers or raises :class:`NvmlError` with the status.
"""

from __future__ import annotations

import ctypes
import struct
from typing import Any

__all__ = [
    "ABSENT",
    "FIELD_VALUE",
    "LIBRARY",
    "LOST",
    "MOST_BYTES",
    "NONE_32",
    "NONE_64",
    "PERMANENT",
    "EventData",
    "FieldValue",
    "Memory",
    "MemoryV2",
    "NvmlError",
    "Processes",
    "call",
    "known",
    "load",
    "text",
]

LIBRARY = "libnvidia-ml.so.1"

ABSENT = 13
"""What a function that the library does not have would answer."""

LOST = 15
"""A GPU that has fallen off the bus."""

PERMANENT = frozenset((2, 3, 4, ABSENT, 25, 26))
"""Statuses that the next call will have, too: not supported, not allowed, not there."""

NONE_32 = (1 << 32) - 1
NONE_64 = (1 << 64) - 1

MOST_BYTES = 1 << 60
"""From here on a size stands for "not available"."""

FIELD_VALUE = struct.Struct("@IIqqIIQ")
"""Reads a :class:`FieldValue`, much quicker than attribute by attribute."""

_SHORT = 7
_MEANING = {
    1: "the library is not initialized",
    3: "not supported",
    4: "no permission",
    9: "the driver is not loaded",
    10: "the driver took too long",
    12: "a library of the driver is missing",
    ABSENT: "there is no such function",
    LOST: "the GPU is lost",
    16: "the GPU must be reset",
    18: "library and driver are of different versions",
    999: "an unknown error",
}
_MOST_PROCESSES = 1 << 14


class NvmlError(Exception):
    """A call of the library that failed, or that it does not have."""

    def __init__(self, name: str, status: int) -> None:
        if status == ABSENT:
            text = f"{LIBRARY} has no {name}: the driver is too old"
        else:
            text = f"{LIBRARY}: {name} says {_MEANING.get(status, f'error {status}')}"
        super().__init__(text)
        self.name = name
        self.status = status


class Memory(ctypes.Structure):
    """``nvmlMemory_t``; what the driver keeps for itself counts as used."""

    _fields_ = [
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    ]


class MemoryV2(ctypes.Structure):
    """``nvmlMemory_v2_t``; what the driver keeps for itself is told apart."""

    _fields_ = [
        ("version", ctypes.c_uint),
        ("total", ctypes.c_ulonglong),
        ("reserved", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    ]
    VERSION = 0x02000028


class FieldValue(ctypes.Structure):
    """``nvmlFieldValue_t``; its value, a union, as the bits that it consists of."""

    _fields_ = [
        ("field", ctypes.c_uint),
        ("scope", ctypes.c_uint),
        ("timestamp", ctypes.c_longlong),
        ("latency", ctypes.c_longlong),
        ("type", ctypes.c_uint),
        ("status", ctypes.c_uint),
        ("value", ctypes.c_ulonglong),
    ]


class EventData(ctypes.Structure):
    """``nvmlEventData_t``."""

    _fields_ = [
        ("device", ctypes.c_void_p),
        ("type", ctypes.c_ulonglong),
        ("data", ctypes.c_ulonglong),
        ("instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    ]


# pid, bytes, and from version 2 on the MIG instances.
_PROCESS = struct.Struct("@I4xQII")
_PROCESS_V1 = struct.Struct("@I4xQ")


def load() -> ctypes.CDLL | None:
    """Return the library, or ``None`` where there is none."""
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError:
        return None


def call(library: ctypes.CDLL, name: str, *arguments: Any) -> None:
    """Call a function.

    Raises
    ------
    NvmlError
        It is not there, or it failed.
    """
    function = getattr(library, name, None)
    status = ABSENT if function is None else function(*arguments)
    if status:
        raise NvmlError(name, status)


def text(library: ctypes.CDLL, name: str, *arguments: Any, size: int = 96) -> str:
    """Call a function that fills in a text."""
    buffer = ctypes.create_string_buffer(size)
    call(library, name, *arguments, buffer, ctypes.c_uint(size))
    return buffer.value.decode(errors="replace")


def known(size: int) -> int | None:
    """Return a number of bytes, or ``None`` for one that says "not available"."""
    return size if size < MOST_BYTES else None


class Processes:
    """The processes of one kind (Compute, Graphics, MPSCompute) on one GPU.

    The newest form that the driver has is kept to; it is looked for once, for the older ones tell
    of fewer processes and not of MIG slices.
    """

    def __init__(self, library: ctypes.CDLL, handle: Any, kind: str = "Compute") -> None:
        self._handle = handle
        self._name = f"nvmlDeviceGet{kind}RunningProcesses"
        forms = (("_v3", _PROCESS), ("_v2", _PROCESS), ("", _PROCESS_V1))
        self._forms: list[tuple[Any, struct.Struct]] = [
            (function, form)
            for version, form in forms
            if (function := getattr(library, self._name + version, None)) is not None
        ]
        self._count = ctypes.c_uint()
        self._pointer = ctypes.byref(self._count)
        self._size = 32
        self._buffer: Any = None
        self._raw = b""
        self._found: list[tuple[int, int | None]] = []

    def ask(self) -> list[tuple[int, int | None]]:
        """Return (pid, bytes) of each; bytes are ``None`` where they are not available.

        Raises
        ------
        NvmlError
            No form of the function is there, or it failed.
        """
        while self._forms:
            function, form = self._forms[0]
            if self._buffer is None:
                self._buffer = ctypes.create_string_buffer(self._size * form.size)
            self._count.value = self._size
            status = function(self._handle, self._pointer, self._buffer)
            if not status:
                raw = self._buffer[: self._count.value * form.size]
                if raw != self._raw:
                    self._raw = raw
                    self._found = [(each[0], known(each[1])) for each in form.iter_unpack(raw)]
                return self._found
            self._buffer = None
            if status == _SHORT and self._size < _MOST_PROCESSES:
                self._size = max(2 * self._size, self._count.value + 8)
            elif status in PERMANENT and len(self._forms) > 1:
                del self._forms[0]
            else:
                raise NvmlError(self._name, status)
        raise NvmlError(self._name, ABSENT)
