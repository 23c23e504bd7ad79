"""How Alembic runs the migrations: inside the transaction of whoever opens the database."""

from alembic import context

from omaim.stores.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
context.run_migrations()
