"""What all our handlers share: where they are, what they may use, and how they fail."""

from __future__ import annotations

import json
from http.client import responses
from types import TracebackType
from typing import Any

from jupyter_server.base.handlers import APIHandler

from jupyter_aiinfra.errors import AiInfraError
from jupyter_aiinfra.server.shared import SharedStore

__all__ = ["NAMESPACE", "STORE_SETTING", "AiInfraHandler"]

NAMESPACE = "aiinfra"
STORE_SETTING = "jupyter_aiinfra_store"


class AiInfraHandler(APIHandler):
    """Base of every REST handler. An :class:`AiInfraError` becomes its status, message and hint.

    Each verb of a subclass stands under ``tornado.web.authenticated`` and ``authorized``; a test
    asks every endpoint without a token.
    """

    auth_resource = "aiinfra"

    @property
    def store(self) -> SharedStore:
        """The server's store."""
        store: SharedStore = self.settings[STORE_SETTING]
        return store

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Answer with the status of the error, where it is one of ours."""
        error = _ours(kwargs.get("exc_info"))
        super().send_error(error.status if error else status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write ``{"message", "hint"}``; what is not our error is left to Jupyter."""
        error = _ours(kwargs.get("exc_info"))
        if error is None:
            super().write_error(status_code, **kwargs)
            return
        self.set_header("Content-Type", "application/json")
        self.finish(
            json.dumps({"message": error.message or responses[status_code], "hint": error.hint})
        )

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


def _ours(exc_info: Any) -> AiInfraError | None:
    error = exc_info[1] if exc_info else None
    return error if isinstance(error, AiInfraError) else None
