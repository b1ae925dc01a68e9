"""The router's files: the configuration, read, checked and replaced, and what is beside it.

Whoever changes the configuration does it by :func:`write_config`, and posts ``/reload`` to the
control socket; the router also looks by itself, once a second.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from jupyter_aiinfra.routing.config import ApiKey, Config, Endpoint, Replica, Sampling

__all__ = [
    "BadConfig",
    "Places",
    "parse_config",
    "read_config",
    "replace_file",
    "write_config",
]

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# What the router answers itself beside the endpoints.
_TAKEN = frozenset({"healthz"})
_VERSION = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADER = re.compile(r"[A-Za-z0-9-]+")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class BadConfig(ValueError):
    """The configuration is not one; says which value, and what was expected."""


class Places:
    """Where the files beside a configuration are; all of them are for their owner only.

    Parameters
    ----------
    config
        ``router.json`` itself.
    """

    def __init__(self, config: Path) -> None:
        self.config = config
        # HTTP: GET /status, GET /metrics, POST /reload.
        self.control = config.with_name("control.sock")
        # HTTP: /NAME/… as at the port, without keys: the user's own programs open it, nobody else.
        self.inside = config.with_name("inside.sock")
        # What the router decided.
        self.state = config.with_name("router-state.json")
        # How many requests there were.
        self.tallies = config.with_name("router-tallies.json")

    def samples(self, endpoint: str) -> Path:
        """Return the file of an endpoint's samples, JSON lines."""
        return self.config.with_name(f"samples-{endpoint}.jsonl")

    def lost_samples(self, endpoints: Collection[str]) -> list[Path]:
        """Return the files of samples of all endpoints but these."""
        known = {self.samples(name).stem for name in endpoints}
        found = self.config.parent.glob("samples-*.jsonl")
        return [path for path in found if path.name.split(".")[0] not in known]


# Made here, under the import's lock: msgspec learns a type when it first meets it, which is not
# safe in two threads.
_decoder = msgspec.json.Decoder(Config)


def parse_config(data: bytes | str) -> Config:
    """Return the configuration in `data`.

    Raises
    ------
    BadConfig
        It is none.
    """
    try:
        config = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadConfig(f"router configuration: {error}") from error
    for port in (config.port, config.grpc_port or 0):
        if not 0 <= port <= 65535:  # noqa: PLR2004 - what a port is
            raise BadConfig(f"port {port}: expected 0 to 65535")
    for name, endpoint in config.endpoints.items():
        if not _NAME.fullmatch(name) or name in _TAKEN:
            raise BadConfig(
                f"endpoint name {name!r}: small letters, digits and dashes are expected, at most "
                f"63, and not {' or '.join(sorted(_TAKEN))}"
            )
        _check_endpoint(f"endpoint {name}", endpoint)
    return config


def read_config(path: Path) -> Config:
    """Return the configuration in a file.

    Raises
    ------
    BadConfig
        There is none.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadConfig(f"router configuration {path}: {error.strerror or error}") from error
    return parse_config(data)


def write_config(path: Path, config: Config) -> None:
    """Replace the file at `path`, all at once, for its owner only.

    Raises
    ------
    BadConfig
        The router would not take it.
    """
    data = msgspec.json.format(msgspec.json.encode(config), indent=1)
    parse_config(data)
    replace_file(path, data)


def replace_file(path: Path, data: bytes) -> None:
    """Have `path` hold `data`: who reads it, or comes after a crash, sees all of it or none."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)  # noqa: PTH105 - of a name, as mkstemp gave it
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _check_endpoint(where: str, endpoint: Endpoint) -> None:
    for name, version in endpoint.versions.items():
        if not _VERSION.fullmatch(name):
            raise BadConfig(f"{where}, version {name!r}: letters, digits and . _ - are expected")
        for replica in version.replicas:
            _check_address(f"{where}, version {name}, replica {replica.id}", replica)
    _check_traffic(where, endpoint)
    _check_rollout(f"{where}, rollout", endpoint)
    for key in endpoint.keys or ():
        _check_key(f"{where}, key {key.id!r}", key)
    _check_header(where, endpoint.sticky)
    _check_bounds(where, endpoint)


def _check_traffic(where: str, endpoint: Endpoint) -> None:
    for share in endpoint.traffic:
        _known(f"{where}, traffic", share.version, endpoint)
        if not 0 <= share.weight < float("inf"):
            raise BadConfig(f"{where}, weight of {share.version}: {share.weight} is no share")
        if share.header is not None and not share.header:
            raise BadConfig(f"{where}, header of {share.version}: names none, which is any request")
        for header in share.header or ():
            _check_header(where, header)
    if endpoint.traffic and not any(share.weight for share in endpoint.traffic):
        raise BadConfig(f"{where}: all weights are 0; at least one version has to be asked")
    if endpoint.shadow is not None:
        _known(f"{where}, shadow", endpoint.shadow, endpoint)


def _check_key(where: str, key: ApiKey) -> None:
    if not _NAME.fullmatch(key.id):
        raise BadConfig(f"{where}: small letters, digits and dashes are expected")
    if not _DIGEST.fullmatch(key.digest):
        raise BadConfig(f"{where}: its digest is no SHA-256 in hexadecimal")
    if key.per_second is not None and not 0 < key.per_second < float("inf"):
        raise BadConfig(f"{where}, per_second {key.per_second}: more than 0 is expected")


def _check_bounds(where: str, endpoint: Endpoint) -> None:
    for name in ("max_body", "timeout", "body_timeout"):
        if not 0 < getattr(endpoint, name) < float("inf"):
            raise BadConfig(f"{where}, {name} {getattr(endpoint, name)}: more than 0 is expected")
    for name in ("hold_seconds", "max_held"):
        if not 0 <= getattr(endpoint, name) < float("inf"):
            raise BadConfig(f"{where}, {name} {getattr(endpoint, name)}: 0 or more is expected")
    if not 0 <= endpoint.tolerance <= 1:
        raise BadConfig(f"{where}, tolerance {endpoint.tolerance}: 0 to 1 is expected")
    _check_sampling(where, endpoint.sampling)


def _check_sampling(where: str, sampling: Sampling) -> None:
    if not 0 <= sampling.rate <= 1:
        raise BadConfig(f"{where}, sampling rate {sampling.rate}: 0 to 1 is expected")
    if sampling.keep < 0:
        raise BadConfig(f"{where}, samples to keep {sampling.keep}: 0 or more is expected")
    for name in ("days", "since"):
        if not 0 <= getattr(sampling, name) < float("inf"):
            raise BadConfig(f"{where}, {name} {getattr(sampling, name)}: 0 or more is expected")
    if not all(sampling.redact):
        raise BadConfig(f"{where}, redact '': a name, or a JSON pointer such as /inputs/0")


def _check_rollout(where: str, endpoint: Endpoint) -> None:
    rollout = endpoint.rollout
    if rollout is None:
        return
    _known(f"{where}, from", rollout.from_, endpoint)
    _known(f"{where}, to", rollout.to, endpoint)
    if rollout.from_ == rollout.to:
        raise BadConfig(f"{where}: from and to are both {rollout.to}")
    steps = rollout.steps
    if not steps or list(steps) != sorted(set(steps)) or not 0 < steps[0] <= steps[-1] <= 100:  # noqa: PLR2004 - percent
        raise BadConfig(f"{where}, steps {list(steps)}: growing percentages up to 100 are expected")
    if not 0 <= rollout.step_seconds < float("inf") or rollout.least_requests < 0:
        raise BadConfig(f"{where}: step_seconds and least_requests of 0 or more are expected")
    gates = rollout.gates
    for name in ("error_rate", "agreement", "tolerance"):
        value = getattr(gates, name)
        if value is not None and not 0 <= value <= 1:
            raise BadConfig(f"{where}, {name} {value}: 0 to 1 is expected")
    if gates.p95_ms is not None and not gates.p95_ms > 0:
        raise BadConfig(f"{where}, p95_ms {gates.p95_ms}: more than 0 is expected")


def _known(where: str, version: str, endpoint: Endpoint) -> None:
    if version not in endpoint.versions:
        there = ", ".join(sorted(endpoint.versions)) or "none"
        raise BadConfig(f"{where}: there is no version {version!r}; there are {there}")


def _check_header(where: str, header: str) -> None:
    if not _HEADER.fullmatch(header):
        raise BadConfig(f"{where}: {header!r} is no name of a header")


def _check_address(where: str, replica: Replica) -> None:
    address = replica.address
    if replica.tunnel is not None and not replica.tunnel.argv:
        raise BadConfig(f"{where}: its tunnel names no program")
    if address.startswith("unix:/"):
        return
    told = urlsplit(address)
    try:
        good = told.scheme == "http" and told.hostname and told.port and not told.path.strip("/")
    except ValueError:
        good = False
    if not good:
        raise BadConfig(f"{where}, address {address!r}: unix:/PATH or http://HOST:PORT is expected")
