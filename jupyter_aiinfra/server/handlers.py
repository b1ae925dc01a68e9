"""What all our handlers share: where they are, what they may use, and how they fail."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from http.client import responses
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, TypeVar

from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import ApiPath, to_os_path
from tornado.web import RequestHandler

from jupyter_aiinfra.errors import AiInfraError, HostKeyUnknown, LoginNeeded, UsageError
from jupyter_aiinfra.model import from_json
from jupyter_aiinfra.server.encoding import encode
from jupyter_aiinfra.server.shared import SharedEngine
from jupyter_aiinfra.server.wire import HostKey, Problem

__all__ = ["ENGINE_SETTING", "NAMESPACE", "POKE_SETTING", "AiInfraHandler"]

T = TypeVar("T")

NAMESPACE = "aiinfra"
ENGINE_SETTING = "jupyter_aiinfra_engine"
POKE_SETTING = "jupyter_aiinfra_poke"
_CHANGES_NOTHING = frozenset({"GET", "HEAD", "OPTIONS"})


class AiInfraHandler(APIHandler):
    """Base of every REST handler. An :class:`AiInfraError` becomes its status, message and hint.

    Each verb of a subclass stands under ``tornado.web.authenticated`` and ``authorized``; a test
    asks every endpoint without a token.
    """

    auth_resource = "aiinfra"
    asks_only: ClassVar[bool] = False
    """Whether none of its verbs changes anything, not even those by which others do."""

    @property
    def engine(self) -> SharedEngine:
        """The server's engine."""
        engine: SharedEngine = self.settings[ENGINE_SETTING]
        return engine

    @property
    def who(self) -> str:
        """Who asks, as the server knows them."""
        user = self.current_user
        name = getattr(user, "username", None) or getattr(user, "name", None)
        return str(name or "somebody in the browser")

    def local_path(self, path: str, *, option: str) -> Path:
        """Return where a path below the server's root is on this machine.

        Raises
        ------
        UsageError
            It is no path, or not below the root; names `option`.
        """
        root = Path(self.settings["server_root_dir"]).expanduser().resolve()
        if "\0" in path:
            raise UsageError(f"{path!r} is no path", option=option)
        found = Path(to_os_path(ApiPath(path), str(root))).resolve()
        if not found.is_relative_to(root):
            raise UsageError(
                f"{path!r} is not below the server's root",
                hint=f"that is {root}",
                option=option,
            )
        return found

    def body(self, kind: type[T]) -> T:
        """Return the request's body as a wire type; an empty body is an empty object.

        Raises
        ------
        UsageError
            It is not JSON, or not of that type; names the field.
        """
        try:
            # Stricter than json: no NaN, and no half a character, which no database would take.
            return from_json(self.request.body or b"{}", kind)
        except (ValueError, RecursionError) as error:  # a DecodeError is a ValueError
            raise UsageError(f"the request's body is not what is expected: {error}") from error

    def answer(self, value: Any, *, status: int = 200) -> None:
        """Finish with a wire value as JSON, or with no content for ``None``."""
        if value is None:
            self.set_status(204)
            self.finish()
            return
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(encode(value))

    def on_finish(self) -> None:
        """Have the server look at what this request may have changed, at once."""
        super().on_finish()
        poke: Callable[[], None] | None = self.settings.get(POKE_SETTING)
        asked = self.asks_only or self.request.method in _CHANGES_NOTHING
        if poke is not None and not asked:
            poke()

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Answer with the status of the error, where it is one of ours."""
        error = _ours(kwargs.get("exc_info"))
        super().send_error(error.status if error else status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write any error as :class:`Problem`, whether it is ours, Jupyter's or a defect."""
        exc_info = kwargs.get("exc_info")
        error = _ours(exc_info)
        otherwise = responses.get(status_code, "Unknown")
        if error is not None:
            problem = _problem(error, otherwise)
        else:
            said = getattr(exc_info[1], "log_message", None) if exc_info else None
            problem = Problem(message=said or otherwise)
        if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", ", ".join(_verbs(type(self))))
        self.set_header("Content-Type", "application/json")
        self.finish(encode(problem))

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log a user's mistake as one line, and a defect of ours with its stack."""
        if isinstance(value, AiInfraError):
            self.log.warning(
                "%s %s: %s: %s",
                self.request.method,
                self.request.path,
                type(value).__name__,
                value.message,
            )
        else:
            super().log_exception(typ, value, tb)


def _problem(error: AiInfraError, otherwise: str) -> Problem:
    key = None
    if isinstance(error, HostKeyUnknown):
        key = HostKey(
            host=error.host,
            key_type=error.key_type,
            fingerprint=error.fingerprint,
            line=error.line,
        )
    return Problem(
        message=error.message or otherwise,
        hint=error.hint,
        option=error.option if isinstance(error, UsageError) else None,
        command=error.command if isinstance(error, LoginNeeded) else "",
        host_key=key,
    )


def _verbs(handler: type[RequestHandler]) -> list[str]:
    """Return what a handler answers; tornado itself has all verbs, and refuses them."""
    return [
        verb
        for verb in RequestHandler.SUPPORTED_METHODS
        if getattr(handler, verb.lower()) is not getattr(RequestHandler, verb.lower())
    ]


def _ours(exc_info: Any) -> AiInfraError | None:
    error = exc_info[1] if exc_info else None
    return error if isinstance(error, AiInfraError) else None
