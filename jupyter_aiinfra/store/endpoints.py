"""The verbs on endpoints, their versions, replicas and keys. Each is one short transaction.

All that follows from one look at an endpoint is written together, if the endpoint still is as it
was: of all who look at once, one writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, Table, and_, insert, select, update

from jupyter_aiinfra.endpoint import (
    Endpoint,
    EndpointKey,
    EndpointVersion,
    Replica,
    ReplicaState,
    RouterRecord,
)
from jupyter_aiinfra.errors import Conflict, NotFound
from jupyter_aiinfra.model import to_wire
from jupyter_aiinfra.store.database import Database
from jupyter_aiinfra.store.naming import meant, unknown
from jupyter_aiinfra.store.rows import add_event, read_record
from jupyter_aiinfra.store.schema import (
    endpoint_keys,
    endpoint_replicas,
    endpoint_versions,
    endpoints,
    routers,
)

__all__ = ["EndpointRecords", "Whole"]


@dataclass(frozen=True, kw_only=True)
class Whole:
    """An endpoint with all that belongs to it, as it was at one moment."""

    endpoint: Endpoint
    versions: tuple[EndpointVersion, ...] = ()
    replicas: tuple[Replica, ...] = ()
    keys: tuple[EndpointKey, ...] = ()

    def version(self, number: int) -> EndpointVersion:
        """Return a version, or raise NotFound."""
        for each in self.versions:
            if each.number == number:
                return each
        known = ", ".join(str(each.number) for each in self.versions) or "none"
        raise NotFound(
            f"endpoint {self.endpoint.name} has no version {number}", hint=f"there are: {known}"
        )

    def of(self, number: int, *states: ReplicaState) -> tuple[Replica, ...]:
        """Return the replicas of a version, in these states if any are named."""
        return tuple(
            each
            for each in self.replicas
            if each.version == number and (not states or each.state in states)
        )


class EndpointRecords:
    """What is known of endpoints; a part of the store."""

    _database: Database

    def add_endpoint(self, endpoint: Endpoint, version: EndpointVersion) -> None:
        """Record an endpoint with its first version; Conflict where its name is taken."""
        with self._database.write() as connection:
            _free(connection, endpoint.name)
            connection.execute(insert(endpoints).values(to_wire(endpoint)))
            connection.execute(insert(endpoint_versions).values(to_wire(version)))
            add_event(connection, "endpoint.added", endpoint.id, {"name": endpoint.name})

    def get_endpoint(self, name: str, *, removed: bool = False) -> Endpoint:
        """Return the endpoint of that name, id or beginning of an id.

        Raises
        ------
        NotFound, UsageError
            There is none, or there are several.
        """
        known = [each for each in self.endpoints(removed=True) if removed or not each.removed_at]
        found = meant(known, name, "endpoint")
        if found is None:
            raise unknown(known, name, "endpoint")
        return found

    def find_endpoint(self, endpoint_id: str) -> Endpoint | None:
        """Return the endpoint of exactly that id, removed or not; ``None``: there is none."""
        query = select(endpoints).where(endpoints.c.id == endpoint_id)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else _endpoint(row)

    def endpoints(self, *, removed: bool = False) -> Sequence[Endpoint]:
        """Return all endpoints, by name; with `removed`, also those that are no more."""
        query = select(endpoints).order_by(endpoints.c.name, endpoints.c.created_at)
        if not removed:
            query = query.where(endpoints.c.removed_at.is_(None))
        with self._database.read() as connection:
            return [_endpoint(row) for row in connection.execute(query).all()]

    def whole_endpoint(self, endpoint_id: str) -> Whole:
        """Return an endpoint with its versions, keys, and the replicas that are not over."""
        query = select(endpoints).where(endpoints.c.id == endpoint_id)
        with self._database.read() as connection:
            row = connection.execute(query).first()
            if row is None:
                raise NotFound(f"there is no endpoint {endpoint_id!r}")
            return _whole(connection, row)

    def standing_endpoints(self, router: str) -> Sequence[Whole]:
        """Return the endpoints of a router that are served, or still have replicas."""
        left = select(endpoint_replicas.c.endpoint).where(
            endpoint_replicas.c.state != ReplicaState.GONE.value
        )
        query = (
            select(endpoints)
            .where(endpoints.c.router == router)
            .where(endpoints.c.removed_at.is_(None) | endpoints.c.id.in_(left))
            .order_by(endpoints.c.name, endpoints.c.created_at)
        )
        with self._database.read() as connection:
            return [_whole(connection, row) for row in connection.execute(query).all()]

    def endpoint_replicas(self, endpoint_id: str, *, limit: int = 200) -> Sequence[Replica]:
        """Return replicas, also those that are over, the newest first."""
        query = (
            select(endpoint_replicas)
            .where(endpoint_replicas.c.endpoint == endpoint_id)
            .order_by(endpoint_replicas.c.created_at.desc(), endpoint_replicas.c.id.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return [_replica(row) for row in connection.execute(query).all()]

    def replica_jobs(self, endpoint_id: str) -> Sequence[tuple[int, str]]:
        """Return the version and the job of each replica that there ever was."""
        query = select(endpoint_replicas.c.version, endpoint_replicas.c.id).where(
            endpoint_replicas.c.endpoint == endpoint_id
        )
        with self._database.read() as connection:
            return [(int(version), str(job)) for version, job in connection.execute(query)]

    def change_endpoint(
        self,
        endpoint: Endpoint,
        *,
        event: str | None = None,
        detail: dict[str, Any] | None = None,
        versions: Iterable[EndpointVersion] = (),
        replicas: Iterable[Replica] = (),
        keys: Iterable[EndpointKey] = (),
        **values: Any,
    ) -> Endpoint | None:
        """Change an endpoint if it is still as given; ``None``: it is not, read it again.

        `versions`, `replicas` and `keys` are written as they are given, new or not.
        """
        with self._database.write() as connection:
            if values.get("name", endpoint.name) != endpoint.name or (
                endpoint.removed_at is not None and "removed_at" in values
            ):
                _free(connection, values.get("name", endpoint.name))
            stamped = {**to_wire(values), "revision": endpoint.revision + 1}
            where = and_(endpoints.c.id == endpoint.id, endpoints.c.revision == endpoint.revision)
            if connection.execute(update(endpoints).where(where).values(stamped)).rowcount != 1:
                return None
            for version in versions:
                own = {"endpoint": version.endpoint, "number": version.number}
                _put(connection, endpoint_versions, own, version)
            for replica in replicas:
                _put(connection, endpoint_replicas, {"id": replica.id}, replica)
            for key in keys:
                _put(connection, endpoint_keys, {"id": key.id}, key)
            if event is not None:
                told = {"name": endpoint.name, **(detail or {})}
                add_event(connection, event, endpoint.id, told)
        return replace(endpoint, **values, revision=endpoint.revision + 1)

    # --- routers -------------------------------------------------------------------------------

    def find_router(self, key: str) -> RouterRecord | None:
        """Return the router of a home, if there ever was one."""
        with self._database.read() as connection:
            row = connection.execute(select(routers).where(routers.c.key == key)).first()
        return None if row is None else read_record(row, RouterRecord, f"router {row.key!r}")

    def put_router(self, router: RouterRecord) -> RouterRecord | None:
        """Record a router if it is as given, or new; ``None``: another process was quicker."""
        values = {**to_wire(router), "revision": router.revision + 1}
        with self._database.write() as connection:
            there = connection.scalar(select(routers.c.revision).where(routers.c.key == router.key))
            if there is None:
                connection.execute(insert(routers).values(values))
            elif there != router.revision:
                return None
            else:
                connection.execute(
                    update(routers).where(routers.c.key == router.key).values(values)
                )
        return replace(router, revision=router.revision + 1)


# --- rows ----------------------------------------------------------------------------------------


def _endpoint(row: Row[Any]) -> Endpoint:
    return read_record(row, Endpoint, f"endpoint {row.id!r}")


def _replica(row: Row[Any]) -> Replica:
    return read_record(row, Replica, f"replica {row.id!r}")


def _whole(connection: Connection, row: Row[Any]) -> Whole:
    endpoint = _endpoint(row)

    def rows(table: Table, *where: Any, by: Any) -> list[Row[Any]]:
        query = select(table).where(table.c.endpoint == endpoint.id, *where).order_by(*by)
        return list(connection.execute(query).all())

    versions = rows(endpoint_versions, by=(endpoint_versions.c.number,))
    there = endpoint_replicas.c.state != ReplicaState.GONE.value
    by = (endpoint_replicas.c.created_at, endpoint_replicas.c.id)
    keys = rows(endpoint_keys, by=(endpoint_keys.c.created_at, endpoint_keys.c.id))
    return Whole(
        endpoint=endpoint,
        versions=tuple(
            read_record(each, EndpointVersion, f"version {each.number} of {endpoint.name}")
            for each in versions
        ),
        replicas=tuple(_replica(each) for each in rows(endpoint_replicas, there, by=by)),
        keys=tuple(read_record(each, EndpointKey, f"key {each.id!r}") for each in keys),
    )


def _put(connection: Connection, table: Table, own: dict[str, Any], record: Any) -> None:
    values = to_wire(record)
    where = [table.c[name] == value for name, value in own.items()]
    if connection.execute(update(table).where(*where).values(values)).rowcount == 0:
        connection.execute(insert(table).values(values))


def _free(connection: Connection, name: str) -> None:
    taken = (endpoints.c.name == name, endpoints.c.removed_at.is_(None))
    if connection.scalar(select(endpoints.c.id).where(*taken)) is not None:
        raise Conflict(
            f"there is an endpoint {name!r} already",
            hint="give it a new version (endpoint update), or choose another name",
        )
