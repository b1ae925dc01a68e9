"""Lines of JSON between the supervisors of one job, over TCP, each with its proof of origin.

One file, standard library only, Python 3.8 or newer. Both ends hold the job's key. Each sends a
nonce first; the key of the session is the HMAC-SHA256 (RFC 2104) of both nonces under the job's
key. Every line after that carries the HMAC of its direction, its number and its text under the
session's key, so nothing can be forged, reordered or replayed. Nothing is secret: what passes is
who is there, and what to begin or to end.

Nothing here blocks: who owns a link selects on it, then calls :meth:`Link.exchange`.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import os
import socket
import time
from typing import Any, Dict

__all__ = ["Broken", "Json", "Link", "call", "listen"]

Json = Dict[str, Any]

_NONCE_BYTES = 16
_MAC_CHARACTERS = 64
_LONGEST_LINE_BYTES = 1 << 20
_MOST_WAITING_BYTES = 4 << 20
_READ_BYTES = 1 << 16
_CONNECTING = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY)


class Broken(Exception):
    """A connection is over; the text says why."""


class Link:
    """One connection to another supervisor.

    Parameters
    ----------
    connection
        A socket, connected or about to be; it is made non-blocking.
    key
        The job's.
    calling
        Whether this end began the connection.
    """

    def __init__(self, connection: socket.socket, key: bytes, *, calling: bool) -> None:
        connection.settimeout(0.0)
        self._socket = connection
        self._key = key
        self._calling = calling
        self._nonce = os.urandom(_NONCE_BYTES).hex()
        self._session: bytes | None = None
        self._incoming = b""
        self._outgoing = self._nonce.encode() + b"\n"
        self._unsent: list[Json] = []  # until both nonces are known
        self._sent = 0
        self._heard = 0
        self._ended: str | None = None
        self.heard_at = time.monotonic()
        self.begun_at = self.heard_at

    def fileno(self) -> int:
        """Return the descriptor to select on."""
        return self._socket.fileno()

    @property
    def wants_to_write(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._outgoing)

    @property
    def proven(self) -> bool:
        """Whether the other end has shown that it holds the key."""
        return self._heard > 0

    def send(self, message: Json) -> None:
        """Queue a message; :meth:`exchange` sends it.

        Raises
        ------
        Broken
            The other end has taken nothing for too long.
        """
        if self._session is None:
            self._unsent.append(message)
            return
        text = json.dumps(message, sort_keys=True).encode()
        mac = self._mac(self._session, self._calling, self._sent, text)
        self._sent += 1
        self._outgoing += mac + b" " + text + b"\n"
        if len(self._outgoing) > _MOST_WAITING_BYTES:
            raise Broken("it takes nothing more")

    def exchange(self) -> list[Json]:
        """Send what can be sent and return the messages that have come.

        Raises
        ------
        Broken
            The connection is over, or the other end does not hold the key.
        """
        try:
            self._write()
            self._read()
        except OSError as error:
            self._ended = self._ended or error.strerror or str(error)
        messages: list[Json] = []
        while True:
            line, found, rest = self._incoming.partition(b"\n")
            if not found:
                if len(line) > _LONGEST_LINE_BYTES:
                    raise Broken("it sent a line that is too long")
                # What came before the end counts; the end is told by the next call.
                if self._ended and not messages:
                    raise Broken(self._ended)
                return messages
            self._incoming = rest
            if self._session is None:
                self._meet(line)
            else:
                messages.append(self._open(line))

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._socket.close()

    def _write(self) -> None:
        while self._outgoing:
            try:
                sent = self._socket.send(self._outgoing)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (*_CONNECTING, errno.ENOTCONN):
                    return  # the connection is not made yet
                raise
            self._outgoing = self._outgoing[sent:]

    def _read(self) -> None:
        while True:
            try:
                data = self._socket.recv(_READ_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENOTCONN:
                    return
                raise
            if not data:
                self._ended = self._ended or "it closed the connection"
                return
            self._incoming += data
            if len(self._incoming) > _MOST_WAITING_BYTES:
                return

    def _meet(self, line: bytes) -> None:
        """Take the other end's nonce."""
        if len(line) != 2 * _NONCE_BYTES:
            raise Broken("it does not speak as a supervisor does")
        nonces = [self._nonce.encode(), line]
        if not self._calling:
            nonces.reverse()
        self._session = hmac.new(self._key, b"aiinfra 1 " + b" ".join(nonces), "sha256").digest()
        waiting, self._unsent = self._unsent, []
        for message in waiting:
            self.send(message)

    def _open(self, line: bytes) -> Json:
        mac, _, text = line.partition(b" ")
        assert self._session is not None  # noqa: S101 - the caller looked
        right = self._mac(self._session, not self._calling, self._heard, text)
        if len(mac) != _MAC_CHARACTERS or not hmac.compare_digest(mac, right):
            raise Broken("it does not hold the key of this job")
        self._heard += 1
        self.heard_at = time.monotonic()
        message: Json = json.loads(text)
        return message

    @staticmethod
    def _mac(session: bytes, from_caller: bool, number: int, text: bytes) -> bytes:  # noqa: FBT001
        head = b"%s %d " % (b"caller" if from_caller else b"host", number)
        return hmac.new(session, head + text, hashlib.sha256).hexdigest().encode()


def listen(address: str, port: int = 0) -> socket.socket:
    """Return a socket that listens at `address`, or everywhere if that is not one of ours.

    Behind address translation the others reach us by an address that no interface here has.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        try:
            listener.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            listener.bind(("", port))
        listener.listen(64)
    except OSError:
        listener.close()
        raise
    listener.settimeout(0.0)
    return listener


def call(address: str, port: int, key: bytes) -> Link:
    """Begin a connection to a supervisor that listens; returns at once.

    Raises
    ------
    Broken
        It is refused at once.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.settimeout(0.0)
    number = connection.connect_ex((address, port))
    if number not in (0, *_CONNECTING):
        connection.close()
        raise Broken(os.strerror(number))
    return Link(connection, key, calling=True)
