"""The keys of those who call endpoints."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from dataclasses import replace

from jupyter_aiinfra.endpoint import Endpoint, EndpointKey, new_key
from jupyter_aiinfra.engine.routerjob import RouterJob
from jupyter_aiinfra.errors import Conflict, NotFound
from jupyter_aiinfra.store import Store
from jupyter_aiinfra.store.endpoints import Whole

__all__ = ["KeyVerbs"]


class KeyVerbs:
    """The verbs on keys; a part of :class:`~.endpoints.Endpoints`."""

    _store: Store
    _clock: Callable[[], float]
    router: RouterJob

    def _ours(self, name: str) -> Endpoint:
        endpoint = self._store.get_endpoint(name)
        if endpoint.router != self.router.key:
            raise Conflict(
                f"endpoint {endpoint.name} is served by {endpoint.router}",
                hint="change it from there",
            )
        return endpoint

    async def add_key(
        self,
        name: str,
        key_name: str,
        *,
        scopes: tuple[str, ...] = ("predict",),
        per_second: float | None = None,
        by: str | None = None,
    ) -> tuple[str, EndpointKey]:
        """Make a key; return its secret, which is shown once and kept nowhere.

        With the first key, nobody may call without one.
        """
        return await self._new_key(name, key_name, scopes, per_second, by, ending=None)

    async def rotate_key(
        self, name: str, key_id: str, *, keep_seconds: float = 3600.0, by: str | None = None
    ) -> tuple[str, EndpointKey]:
        """Make a key like another, which still holds for a while, so that callers can change."""
        old = _key(self._store.whole_endpoint(self._ours(name).id), key_id)
        ends = self._clock() + keep_seconds
        return await self._new_key(
            name, old.name, old.scopes, old.per_second, by, ending=replace(old, ends_at=ends)
        )

    async def revoke_key(self, name: str, key_id: str) -> EndpointKey:
        """Have a key hold no more, from now on."""
        while True:
            whole = self._store.whole_endpoint(self._ours(name).id)
            key = replace(_key(whole, key_id), ends_at=self._clock())
            detail = {"key": key.id}
            if self._store.change_endpoint(
                whole.endpoint, event="endpoint.key-revoked", detail=detail, keys=[key]
            ):
                await self.router.publish()
                return key

    async def _new_key(
        self,
        name: str,
        key_name: str,
        scopes: tuple[str, ...],
        per_second: float | None,
        by: str | None,
        *,
        ending: EndpointKey | None,
    ) -> tuple[str, EndpointKey]:
        while True:
            endpoint = self._ours(name)
            secret, key = new_key(
                endpoint.id,
                key_name,
                scopes=scopes,
                per_second=per_second,
                by=by or getpass.getuser(),
            )
            keys = [key] if ending is None else [key, ending]
            detail = {"key": key.id}
            if self._store.change_endpoint(
                endpoint, event="endpoint.key-added", detail=detail, keys=keys
            ):
                await self.router.publish()
                return secret, key


def _key(whole: Whole, key_id: str) -> EndpointKey:
    found = [each for each in whole.keys if each.id == key_id]
    if not found:
        now = [each for each in whole.keys if each.ends_at is None]
        found = [each for each in now if each.name == key_id]
    if len(found) == 1:
        return found[0]
    ids = ", ".join(f"{each.id} ({each.name})" for each in whole.keys) or "none"
    raise NotFound(
        f"endpoint {whole.endpoint.name} has no key {key_id!r}"
        if not found
        else f"several keys are called {key_id!r}",
        hint=f"there are: {ids}",
    )
