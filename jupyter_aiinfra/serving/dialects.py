"""What each protocol reads from a body, and what it writes for an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from jupyter_aiinfra.serving import formats, invocations, oip
from jupyter_aiinfra.serving.faults import BadInput, Unsupported
from jupyter_aiinfra.serving.model import Served
from jupyter_aiinfra.serving.schema import Batch, Reader, listed
from jupyter_aiinfra.serving.wire import Answer

__all__ = ["EVENTS", "Dialect", "Head", "Infer", "Invocations", "Predict"]

EVENTS = "text/event-stream"

_JSON = "application/json"
_HEAD_LENGTH = b"inference-header-content-length"


class Head:
    """What the header of a request says, read once.

    Parameters
    ----------
    kind
        The type of the body.
    accept
        The types that the answer may have.
    binary
        Which of the binary types is wanted for the answer of ``/predict``; empty: none.
    """

    __slots__ = ("accept", "binary", "headers", "kind")

    def __init__(self, headers: Mapping[bytes, bytes]) -> None:
        self.headers = headers
        kind = headers.get(b"content-type", b"application/json").decode("latin-1")
        self.kind = kind.partition(";")[0].strip().lower()
        self.accept = headers.get(b"accept", b"*/*").decode("latin-1").lower()
        any_kind = "*/*" in self.accept
        self.binary = ""
        for binary in (formats.SAFETENSORS, formats.NPY):
            if binary in self.accept or (any_kind and self.kind == binary):
                self.binary = binary


class Dialect(Protocol):
    """One protocol."""

    def read(self, head: Head, body: bytes) -> tuple[Batch, Any]:
        """Return the batch in `body`, and what :meth:`write` wants to know of the request.

        Raises
        ------
        Fault
            It is not what the protocol or the model asks for.
        """
        ...

    def write(self, answer: Batch, head: Head, told: Any) -> Answer:
        """Return what tells `answer`.

        Raises
        ------
        Fault
            It cannot be told as the client wants it.
        """
        ...


class Predict:
    """``/predict``: JSON, an array of numpy, or a safetensors file."""

    def __init__(self, served: Served, reader: Reader) -> None:
        self._served = served
        self._reader = reader
        self._tail = b',"version":' + msgspec.json.encode(served.version) + b"}"
        self._encoder = msgspec.json.Encoder(enc_hook=listed)

    def read(self, head: Head, body: bytes) -> tuple[Batch, Any]:
        """Return the batch in `body`."""
        kind = head.kind
        if kind == _JSON:
            return self._reader.read(body), None
        signature = self._served.signature
        if signature.free or kind not in (formats.NPY, formats.SAFETENSORS):
            takes = "JSON" if signature.free else f"JSON, {formats.NPY} and {formats.SAFETENSORS}"
            raise Unsupported(f"content type {kind!r}: this model takes {takes}")
        if kind == formats.SAFETENSORS:
            return signature.checked(formats.from_safetensors(body)), None
        if len(signature.inputs) != 1:
            raise BadInput("an array has no name, and this model takes several inputs")
        return signature.checked({signature.inputs[0].name: formats.from_npy(body)}), None

    def write(self, answer: Batch, head: Head, told: Any) -> Answer:
        """Return `answer` in the type that is wanted; JSON if that does not matter."""
        del told
        outputs: Any = answer
        if isinstance(answer, dict | Mapping):
            if head.binary:
                return Answer(body=_as_bytes(answer, head.binary), kind=head.binary.encode())
            if len(answer) == 1:
                (array,) = answer.values()
                outputs = array.tolist()
            else:
                outputs = {name: array.tolist() for name, array in answer.items()}
        return Answer(body=b'{"outputs":' + self._encoder.encode(outputs) + self._tail)


class Invocations:
    """``/invocations``: what MLflow's clients send, JSON or CSV."""

    def __init__(self, served: Served, reader: Reader) -> None:
        self._signature = served.signature
        self._reader = reader

    def read(self, head: Head, body: bytes) -> tuple[Batch, Any]:
        """Return the batch in `body`."""
        if head.kind == "text/csv":
            return invocations.read_csv(body, self._signature), None
        if head.kind == _JSON:
            return invocations.read_invocation(body, self._signature, self._reader), None
        raise Unsupported(f"content type {head.kind!r}: JSON and text/csv are accepted")

    def write(self, answer: Batch, head: Head, told: Any) -> Answer:
        """Return `answer` as MLflow gives it."""
        del head, told
        return Answer(body=invocations.predictions(answer))


class Infer:
    """The Open Inference Protocol."""

    def __init__(self, served: Served) -> None:
        self._served = served

    def read(self, head: Head, body: bytes) -> tuple[Batch, Any]:
        """Return the batch in `body`, and which outputs are wanted and how."""
        told = head.headers.get(_HEAD_LENGTH)
        if told is not None and not told.isdigit():
            raise BadInput("is no number", field="Inference-Header-Content-Length")
        length = None if told is None else int(told)
        return oip.read_infer(body, length, self._served.signature)

    def write(self, answer: Batch, head: Head, told: Any) -> Answer:
        """Return `answer`, as bytes where that was asked for."""
        del head
        served = self._served
        body, length = oip.write_infer(answer, told, name=served.name, version=served.version)
        if length is None:
            return Answer(body=body)
        line = (_HEAD_LENGTH, b"%d" % length)
        return Answer(body=body, kind=b"application/octet-stream", headers=[line])


def _as_bytes(answer: Mapping[str, Any], kind: str) -> bytes:
    if kind == formats.SAFETENSORS:
        return formats.to_safetensors(answer)
    if len(answer) != 1:
        raise Unsupported(f"there are several outputs; ask for {formats.SAFETENSORS} or JSON")
    array = next(iter(answer.values()))
    if array.dtype.hasobject:
        raise Unsupported("the output is text; ask for JSON")
    return formats.to_npy(array)
