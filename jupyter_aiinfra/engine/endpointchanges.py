"""The verbs that change an endpoint: each is written if it still is as it was decided on."""

from __future__ import annotations

import getpass
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from jupyter_aiinfra.endpoint import (
    Endpoint,
    EndpointVersion,
    Gates,
    Rollout,
    RolloutKind,
    Share,
    VersionState,
)
from jupyter_aiinfra.engine.endpointkeys import KeyVerbs
from jupyter_aiinfra.engine.endpointviews import (
    ALL,
    Asked,
    EndpointView,
    before_of,
    check_options,
    check_scaling,
    main_of,
    refuse_two,
    steps_of,
    tried_of,
)
from jupyter_aiinfra.errors import Conflict, UsageError
from jupyter_aiinfra.store.endpoints import Whole

__all__ = ["ChangeVerbs"]

_NO_GATES: Final = Gates(error_rate=None, p95_ms=None, agreement=None)


class ChangeVerbs(KeyVerbs, ABC):
    """What changes of an endpoint; a part of :class:`~.endpoints.Endpoints`."""

    @abstractmethod
    async def show(self, name: str) -> EndpointView:
        """Return one endpoint, by name or id; also one that was removed."""

    def _toward(
        self, endpoint: Endpoint, old: EndpointVersion, new: int, asked: Asked, *, count: int
    ) -> dict[str, Any]:
        """Return what changes of an endpoint so that it comes to serve another version."""
        if asked.how == "shadow":
            return {"shadow": new}
        if asked.header is not None:
            if not asked.header:
                raise UsageError("which header?", hint="--header X-Version=2", option="header")
            share = Share(version=new, weight=0.0, header=dict(asked.header))
            return {"traffic": (*endpoint.traffic, share)}
        kind: RolloutKind = asked.how
        calm = kind == "canary"
        seconds = asked.step_seconds
        least = asked.least_requests
        return {
            "rollout": Rollout(
                id=f"{endpoint.id}-{new}-{endpoint.revision}",
                old=old.number,
                new=new,
                kind=kind,
                steps=steps_of(kind, replicas=count, percent=asked.steps),
                step_seconds=(60.0 if calm else 5.0) if seconds is None else seconds,
                least_requests=(50 if calm else 0) if least is None else least,
                gates=asked.gates,
                asked_at=self._clock(),
                by=asked.by or getpass.getuser(),
            )
        }

    async def promote(self, name: str) -> EndpointView:
        """Give all traffic to the newest version that is tried out, at once: no gate is asked."""

        def values(whole: Whole) -> tuple[dict[str, Any], list[EndpointVersion], dict[str, Any]]:
            endpoint = whole.endpoint
            new = tried_of(endpoint)
            if new is None:
                raise Conflict(
                    f"endpoint {endpoint.name} tries out no other version",
                    hint="endpoint update gives it one",
                )
            return self._switched(whole, new, keep_seconds=endpoint.options.keep_seconds)

        return await self._changed(name, "endpoint.promoted", values)

    async def rollback(self, name: str, *, to: int | None = None, reason: str = "") -> EndpointView:
        """Go back: end a change that is under way, or serve the version before once more.

        Replicas of a version that is no longer there are started first, and it takes over when
        they answer.
        """

        def values(whole: Whole) -> tuple[dict[str, Any], list[EndpointVersion], dict[str, Any]]:
            endpoint = whole.endpoint
            tried = tried_of(endpoint)
            if to is None and tried is not None:
                return self._given_up(whole, tried, reason or "rolled back by hand")
            target = whole.version(before_of(whole) if to is None else to)
            if target.number == main_of(endpoint):
                raise Conflict(f"endpoint {endpoint.name} serves version {target.number} already")
            refuse_two(endpoint)
            if target.wanted and target.state is VersionState.READY:
                return self._switched(whole, target.number, keep_seconds=0.0, reason=reason)
            return self._raised(whole, target, reason)

        return await self._changed(name, "endpoint.rolled-back", values)

    def _switched(
        self, whole: Whole, new: int, *, keep_seconds: float, reason: str = "by hand"
    ) -> tuple[dict[str, Any], list[EndpointVersion], dict[str, Any]]:
        """Return what gives all traffic to `new`, whose replicas answer."""
        endpoint = whole.endpoint
        old = main_of(endpoint)
        until = self._clock() + keep_seconds
        versions = [
            replace(each, retire_at=None if each.number == new else until)
            for each in whole.versions
            if each.number == new or each.number in endpoint.in_use
        ]
        values = {
            "traffic": (Share(version=new, weight=ALL),),
            "rollout": None,
            "shadow": None if endpoint.shadow == new else endpoint.shadow,
        }
        return values, versions, {"from": old, "to": new, "reason": reason or "by hand"}

    def _given_up(
        self, whole: Whole, tried: int, reason: str
    ) -> tuple[dict[str, Any], list[EndpointVersion], dict[str, Any]]:
        endpoint = whole.endpoint
        traffic = tuple(share for share in endpoint.traffic if share.version != tried)
        values = {
            "traffic": traffic,
            "rollout": None,
            "shadow": None if endpoint.shadow == tried else endpoint.shadow,
        }
        failed = replace(whole.version(tried), state=VersionState.FAILED, reason=reason, wanted=0)
        return values, [failed], {"from": main_of(endpoint), "to": tried, "reason": reason}

    def _raised(
        self, whole: Whole, target: EndpointVersion, reason: str
    ) -> tuple[dict[str, Any], list[EndpointVersion], dict[str, Any]]:
        """Return what brings a version back of which nothing runs."""
        endpoint = whole.endpoint
        main = whole.version(main_of(endpoint))
        asked = Asked(how="blue-green", step_seconds=0.0, gates=_NO_GATES)
        count = max(main.wanted, endpoint.scaling.least, 1)
        back = replace(
            target,
            wanted=count,
            state=VersionState.STARTING,
            reason=None,
            retire_at=None,
            failures=0,
            failed_at=None,
            created_at=self._clock(),
        )
        values = self._toward(endpoint, main, target.number, asked, count=count)
        told = {"from": main.number, "to": target.number, "reason": reason or "by hand"}
        return values, [back], told

    async def split(self, name: str, weights: Mapping[int, float]) -> EndpointView:
        """Divide the traffic by hand; versions that get none are kept for a while.

        Raises
        ------
        UsageError, NotFound, Conflict
            Weights that are none; no such version, or one of which nothing runs.
        """
        if not weights or any(not math.isfinite(w) or w < 0 for w in weights.values()):
            raise UsageError("a weight is a number from 0 on", hint="traffic NAME 3=90 4=10")
        if not any(weights.values()):
            raise UsageError("at least one version has to be asked", hint="traffic NAME 3=100")

        def values(whole: Whole) -> tuple[dict[str, Any], list[EndpointVersion], dict[str, Any]]:
            endpoint = whole.endpoint
            refuse_two(endpoint)
            for number in weights:
                version = whole.version(number)
                asleep = endpoint.scaling.least == 0 and number == main_of(endpoint)
                if not version.wanted and not asleep:
                    raise Conflict(
                        f"nothing runs of version {number} of {endpoint.name}",
                        hint=f"endpoint rollback {endpoint.name} --to {number} starts it",
                    )
            shares = {share.version: share for share in endpoint.traffic}
            traffic = tuple(
                Share(
                    version=number,
                    weight=float(weight),
                    header=shares[number].header if number in shares else None,
                )
                for number, weight in sorted(weights.items())
            )
            until = self._clock() + endpoint.options.keep_seconds
            used = {*weights, endpoint.shadow}
            versions = [
                replace(each, retire_at=None if each.number in used else until)
                for each in whole.versions
                if each.number in used or each.number in endpoint.in_use
            ]
            told = {"traffic": {str(key): weights[key] for key in sorted(weights)}}
            return {"traffic": traffic}, versions, told

        return await self._changed(name, "endpoint.traffic", values)

    async def scale(self, name: str, **asked: Any) -> EndpointView:
        """Change how many replicas there are, and by what; see :class:`~.endpoint.Scaling`."""
        given = {key: value for key, value in asked.items() if value is not None}
        if not given:
            raise UsageError("scale to what?", hint="--min 0 --max 4")

        def values(whole: Whole) -> tuple[dict[str, Any], list[EndpointVersion], dict[str, Any]]:
            endpoint = whole.endpoint
            old = endpoint.scaling
            if "least" in given and "most" not in given:
                given["most"] = max(old.most, given["least"])
            scaling = check_scaling(replace(old, **given))
            bounded = [
                replace(each, wanted=min(max(each.wanted, scaling.least), scaling.most))
                for each in whole.versions
                if each.number in endpoint.in_use and each.state is not VersionState.FAILED
            ]
            return {"scaling": scaling}, bounded, {"least": scaling.least, "most": scaling.most}

        return await self._changed(name, "endpoint.scaled", values)

    async def configure(self, name: str, **asked: Any) -> EndpointView:
        """Change what the router does; see :class:`~.endpoint.EndpointOptions`."""
        given = {key: value for key, value in asked.items() if value is not None}
        if not given:
            raise UsageError("change what?", hint="--cors https://example.org --timeout 10")

        def values(whole: Whole) -> tuple[dict[str, Any], list[EndpointVersion], dict[str, Any]]:
            options = check_options(replace(whole.endpoint.options, **given))
            return {"options": options}, [], {}

        return await self._changed(name, "endpoint.configured", values)

    async def remove(self, name: str) -> EndpointView:
        """Serve it no more: requests that are under way are answered. :meth:`restore` undoes it."""

        def values(whole: Whole) -> tuple[dict[str, Any], list[EndpointVersion], dict[str, Any]]:
            traffic = (Share(version=main_of(whole.endpoint), weight=ALL),)
            return (
                {"removed_at": self._clock(), "rollout": None, "shadow": None, "traffic": traffic},
                [],
                {},
            )

        return await self._changed(name, "endpoint.removed", values)

    async def restore(self, name: str) -> EndpointView:
        """Serve what was removed once more; Conflict where its name is taken by now."""
        while True:
            whole = self._store.whole_endpoint(self._store.get_endpoint(name, removed=True).id)
            endpoint = whole.endpoint
            if endpoint.removed_at is None:
                raise Conflict(f"endpoint {endpoint.name} was not removed")
            version = whole.version(main_of(endpoint))
            back = replace(
                version,
                wanted=max(endpoint.scaling.least, 1),
                state=VersionState.STARTING,
                reason=None,
                retire_at=None,
                failures=0,
                failed_at=None,
                created_at=self._clock(),
            )
            changed = self._store.change_endpoint(
                endpoint, event="endpoint.restored", versions=[back], removed_at=None
            )
            if changed is not None:
                return await self.show(endpoint.id)

    async def _changed(
        self,
        name: str,
        event: str,
        values: Callable[[Whole], tuple[dict[str, Any], list[EndpointVersion], dict[str, Any]]],
    ) -> EndpointView:
        endpoint_id = self._ours(name).id
        while True:
            whole = self._store.whole_endpoint(endpoint_id)
            changes, versions, detail = values(whole)
            changed = self._store.change_endpoint(
                whole.endpoint, event=event, detail=detail, versions=versions, **changes
            )
            if changed is not None:
                await self.router.publish()
                return await self.show(endpoint_id)
