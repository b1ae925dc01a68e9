"""How Alembic runs our migrations: on the connection it is given, in that one's transaction."""

from __future__ import annotations

from alembic import context

from jupyter_aiinfra.store.schema import VERSION_TABLE, metadata

__all__: list[str] = []

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,  # SQLite alters a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
