"""The Open Inference Protocol, version 2, over gRPC: the same model, asked in another way.

A request becomes what the protocol sends over HTTP with binary tensors, and goes the same way. The
messages are made from a table of their fields, so that nothing has to be generated; fields that say
nothing to us (parameters) are left out of it, and skipped when they come.
"""

from __future__ import annotations

import functools
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any

import grpc
import msgspec
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from jupyter_aiinfra.serving import oip
from jupyter_aiinfra.serving.faults import BadInput, Fault, NotServed

if TYPE_CHECKING:
    from jupyter_aiinfra.serving.app import App

__all__ = ["Calls", "Service", "asked_as_http", "begun", "messages", "started"]

_SERVICE = "inference.GRPCInferenceService"

# Of each message its fields in order; `*` is many, a capital letter begins another message.
_FIELDS = {
    "Empty": "",
    "Live": "bool:live",
    "Ready": "bool:ready",
    "Model": "string:name string:version",
    "Server": "string:name string:version *string:extensions",
    "Tensor": "string:name string:datatype *int64:shape",
    "Metadata": "string:name *string:versions string:platform *Tensor:inputs *Tensor:outputs",
    "Contents": "*bool:bool *int32:int *int64:int64 *uint32:uint *uint64:uint64 *float:fp32 "
    "*double:fp64 *bytes:bytes",
    "Input": "string:name string:datatype *int64:shape - Contents:contents",
    "Wanted": "string:name",
    "Infer": "string:model_name string:model_version string:id - *Input:inputs *Wanted:outputs "
    "*bytes:raw",
    "Output": "string:name string:datatype *int64:shape",
    "Inferred": "string:model_name string:model_version string:id - *Output:outputs *bytes:raw",
    "Streamed": "string:error_message Inferred:infer_response",
}
# Where values of a type are that do not come as bytes.
_CONTENTS: Mapping[str, tuple[str, str]] = {
    "BOOL": ("bool", "bool"),
    **{f"INT{bits}": ("int", f"int{bits}") for bits in (8, 16, 32)},
    "INT64": ("int64", "int64"),
    **{f"UINT{bits}": ("uint", f"uint{bits}") for bits in (8, 16, 32)},
    "UINT64": ("uint64", "uint64"),
    "FP32": ("fp32", "float32"),
    "FP64": ("fp64", "float64"),
}
_STATUS = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


@functools.lru_cache(maxsize=1)
def messages() -> Mapping[str, Any]:
    """Return the classes of the protocol's messages, by our names for them."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="jupyter_aiinfra/inference.proto", package="inference", syntax="proto3"
    )
    for message, fields in _FIELDS.items():
        made = file.message_type.add(name=message)
        for number, told in enumerate(fields.split(), 1):
            if told == "-":
                continue
            kind, _, name = told.partition(":")
            many, kind = kind.startswith("*"), kind.removeprefix("*")
            label = kinds.LABEL_REPEATED if many else kinds.LABEL_OPTIONAL
            field = made.field.add(name=name, number=number, label=label)
            if kind[0].isupper():
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".inference.{kind}"
            else:
                field.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"inference.{name}"))
        for name in _FIELDS
    }


class Calls(ABC):
    """The calls of the protocol; what answers them is for others to say.

    Whatever cannot be answered is raised as a :class:`~.faults.Fault`.
    """

    def __init__(self) -> None:
        self._kinds = messages()

    @abstractmethod
    async def ready(self) -> bool:
        """Return whether the server can be asked."""

    @abstractmethod
    async def model_ready(self, name: str, version: str, context: Any) -> bool:
        """Return whether a model can be asked; an empty `version` is any."""

    @abstractmethod
    def admit(self, context: Any) -> None:
        """Look at the key of who asks about the server."""

    @abstractmethod
    async def metadata(self, name: str, version: str, context: Any) -> Mapping[str, Any]:
        """Return what the protocol says over HTTP of a model."""

    @abstractmethod
    async def infer(self, asked: Any, context: Any) -> tuple[bytes, int]:
        """Return the answer to an ``Infer`` as over HTTP, and how much of it is JSON."""

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return what a server of gRPC calls."""
        calls = {
            "ServerLive": (self._server_live, "Empty"),
            "ServerReady": (self._server_ready, "Empty"),
            "ModelReady": (self._model_ready, "Model"),
            "ServerMetadata": (self._server, "Empty"),
            "ModelMetadata": (self._metadata, "Model"),
            "ModelInfer": (self._infer, "Infer"),
        }
        made = {
            # Messages are read here: what is none is the client's fault, which gRPC would not say.
            name: grpc.unary_unary_rpc_method_handler(self._answering(call, asked))
            for name, (call, asked) in calls.items()
        }
        made["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(self._stream)
        return grpc.method_handlers_generic_handler(_SERVICE, made)

    def _read(self, kind: str, message: bytes) -> Any:
        try:
            return self._kinds[kind].FromString(message)
        except DecodeError as error:
            raise BadInput("is none of this protocol", field="message") from error

    def _answering(self, call: Callable[..., Any], kind: str) -> Callable[..., Any]:
        async def answer(message: bytes, context: Any) -> bytes:
            try:
                asked = self._read(kind, message)
                return bytes((await call(asked, context)).SerializeToString())
            except Fault as fault:
                code = _STATUS.get(fault.status, grpc.StatusCode.INTERNAL)
                await context.abort(code, str(fault))
                raise

        return answer

    async def _server_live(self, asked: Any, context: Any) -> Any:
        del asked, context
        return self._kinds["Live"](live=True)

    async def _server_ready(self, asked: Any, context: Any) -> Any:
        del asked, context
        return self._kinds["Ready"](ready=await self.ready())

    async def _model_ready(self, asked: Any, context: Any) -> Any:
        ready = await self.model_ready(asked.name, asked.version, context)
        return self._kinds["Ready"](ready=ready)

    async def _server(self, asked: Any, context: Any) -> Any:
        del asked
        self.admit(context)
        return self._kinds["Server"](name="jupyter_aiinfra", version="2")

    async def _metadata(self, asked: Any, context: Any) -> Any:
        return self._kinds["Metadata"](**await self.metadata(asked.name, asked.version, context))

    async def _infer(self, asked: Any, context: Any) -> Any:
        body, size = await self.infer(asked, context)
        head = msgspec.json.decode(body[:size])
        made = self._kinds["Inferred"](
            model_name=head["model_name"], model_version=head["model_version"], id=asked.id
        )
        place = size
        for output in head["outputs"]:
            made.outputs.add(
                name=output["name"], datatype=output["datatype"], shape=output["shape"]
            )
            end = place + output["parameters"]["binary_data_size"]
            made.raw.append(body[place:end])
            place = end
        return made

    async def _stream(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for message in requests:
            made = self._kinds["Streamed"]()
            asked = self._kinds["Infer"]()
            try:
                asked = self._read("Infer", message)
                made.infer_response.CopyFrom(await self._infer(asked, context))
            except Fault as fault:
                # What follows on the same stream is still answered.
                made.error_message = str(fault)
                made.infer_response.id = asked.id
            yield made.SerializeToString()


class Service(Calls):
    """Answers the calls of the protocol with the model of `app`, on its event loop."""

    def __init__(self, app: App) -> None:
        super().__init__()
        self._app = app

    async def ready(self) -> bool:
        """Ask the model its example."""
        return await self._app.ready()

    async def model_ready(self, name: str, version: str, context: Any) -> bool:
        """Say no to what is not served here."""
        del context
        return self._is_served(name, version) and await self._app.ready()

    def admit(self, context: Any) -> None:
        """Look at the key in the call's metadata."""
        told = context.invocation_metadata() or ()
        headers = {key.encode(): value.encode() for key, value in told if isinstance(value, str)}
        self._app.admit(headers, "predict")

    async def metadata(self, name: str, version: str, context: Any) -> Mapping[str, Any]:
        """Return what the model takes and returns."""
        self.admit(context)
        self._check(name, version)
        served = self._app.served
        return oip.metadata(served.name, served.version, served.signature)

    async def infer(self, asked: Any, context: Any) -> tuple[bytes, int]:
        """Ask the model."""
        begun = time.perf_counter()
        self._app.metrics.began()
        status = 499  # where the client goes before it is answered
        try:
            self.admit(context)
            self._check(asked.model_name, asked.model_version)
            made = await self._answered(asked)
            status = 200
        except Fault as fault:
            status = fault.status
            raise
        finally:
            self._app.metrics.ended(status, time.perf_counter() - begun)
        return made

    async def _answered(self, asked: Any) -> tuple[bytes, int]:
        served = self._app.served
        head, raw = asked_as_http(asked)
        batch, told = oip.read_infer(head + b"".join(raw), len(head), served.signature)
        answer = await self._app.submitted(batch)
        body, size = oip.write_infer(answer, told, name=served.name, version=served.version)
        return body, size or len(body)

    def _is_served(self, name: str, version: str) -> bool:
        served = self._app.served
        return name == served.name and version in ("", served.version)

    def _check(self, name: str, version: str) -> None:
        if not self._is_served(name, version):
            served = self._app.served
            raise NotServed(f"{name} {version}: this is {served.name}, {served.version}")


def asked_as_http(asked: Any) -> tuple[bytes, list[bytes]]:
    """Return an ``Infer`` as over HTTP: its JSON, and the bytes of its inputs.

    Raises
    ------
    BadInput
        It is none that could be asked in that way.
    """
    raw = list(asked.raw) or [_contents(tensor) for tensor in asked.inputs]
    if len(raw) != len(asked.inputs):
        raise BadInput(
            f"{len(raw)} for {len(asked.inputs)} inputs; each has one, or none has",
            field="raw_input_contents",
        )
    inputs = [
        {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
            "parameters": {"binary_data_size": len(data)},
        }
        for tensor, data in zip(asked.inputs, raw, strict=True)
    ]
    head: dict[str, Any] = {
        "inputs": inputs,
        "id": asked.id,
        "parameters": {"binary_data_output": True},
    }
    if asked.outputs:
        wanted = {"binary_data": True}
        head["outputs"] = [{"name": one.name, "parameters": wanted} for one in asked.outputs]
    return msgspec.json.encode(head), raw


def _contents(tensor: Any) -> bytes:
    """Return the values of a tensor that do not come as bytes, as they would."""
    if tensor.datatype == "BYTES":
        parts = (len(text).to_bytes(4, "little") + text for text in tensor.contents.bytes)
        return b"".join(parts)
    if tensor.datatype not in _CONTENTS:
        raise BadInput(
            f"{tensor.datatype} comes as raw_input_contents only", field=f"inputs.{tensor.name}"
        )
    field, dtype = _CONTENTS[tensor.datatype]
    try:
        return np.array(getattr(tensor.contents, field), np.dtype(dtype)).tobytes()
    except OverflowError:
        raise BadInput(f"does not fit into {dtype}", field=f"inputs.{tensor.name}") from None


async def started(app: App, address: str, *, body_bytes: int) -> grpc.aio.Server:
    """Return a server on `address` that has begun; whoever asked for it stops it."""
    # Each worker listens on the same port, as it does for HTTP.
    server, _ = await begun(Service(app), address, body_bytes=body_bytes, shared=True)
    return server


async def begun(
    calls: Calls, address: str, *, body_bytes: int, shared: bool = False, most: int | None = None
) -> tuple[grpc.aio.Server, int]:
    """Return a server that has begun, and its port.

    Parameters
    ----------
    body_bytes
        The most that a call may bring.
    shared
        Whether others may listen there, too.
    most
        How many calls may be under way; ``None``: any number.

    Raises
    ------
    OSError
        The address cannot be had.
    """
    options = (
        ("grpc.max_receive_message_length", body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", int(shared)),
    )
    server = grpc.aio.server(options=options, maximum_concurrent_rpcs=most)
    server.add_generic_rpc_handlers((calls.handlers(),))
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"{address} cannot be had: {error}") from error
    await server.start()
    return server, port
