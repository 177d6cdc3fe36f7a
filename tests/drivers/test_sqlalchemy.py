"""SQLAlchemy over psycopg and asyncpg: reflection, Core and ORM, IN and ANY, streams, errors, transactions."""

import asyncio
import datetime
import decimal

import pytest
import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import create_async_engine


class Base(orm.DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "sa_notes"

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True, autoincrement=False)
    text: orm.Mapped[str | None]
    amount: orm.Mapped[decimal.Decimal] = orm.mapped_column(sa.Numeric(12, 2))
    at: orm.Mapped[datetime.datetime]


MOMENT = datetime.datetime(2026, 11, 20, 1, 2, 3, 4)


def url(weir, driver):
    return weir.urls["ADMIN"].replace("postgres://", f"postgresql+{driver}://")


def use(connection):
    """The same conversation, whichever driver carries it."""
    region = sa.Table("region", sa.MetaData(), autoload_with=connection)
    assert [column.name for column in region.columns] == ["r_regionkey", "r_name", "r_comment"]
    assert [column.name for column in region.primary_key] == ["r_regionkey"]
    names = sa.inspect(connection).get_table_names()
    assert {"region", "nation", "orders"} <= set(names)
    ids = sa.select(region.c.r_regionkey).order_by(region.c.r_regionkey)
    assert connection.scalars(ids.where(region.c.r_regionkey.in_([1, 3]))).all() == [1, 3]
    assert connection.scalars(ids.where(region.c.r_regionkey.in_([]))).all() == []
    any_of = sa.any_(sa.bindparam("keys", [0, 4], type_=postgresql.ARRAY(sa.BigInteger)))
    assert connection.scalars(ids.where(region.c.r_regionkey == any_of)).all() == [0, 4]
    array = connection.scalar(sa.select(sa.func.array_agg(region.c.r_regionkey)))
    assert sorted(array) == [0, 1, 2, 3, 4]
    Base.metadata.create_all(connection)
    try:
        with orm.Session(connection) as session:
            session.add_all([Note(id=n, text=f"note {n}" if n else None, amount=decimal.Decimal("1.50") * n, at=MOMENT) for n in range(20)])
            session.flush()
            found = session.scalars(sa.select(Note).where(Note.amount > 3).order_by(Note.id).limit(2)).all()
            assert [(note.id, note.text, note.amount, note.at) for note in found] == [
                (3, "note 3", decimal.Decimal("4.50"), MOMENT),
                (4, "note 4", decimal.Decimal("6.00"), MOMENT),
            ]
            found[0].text = "changed"
            session.delete(found[1])
            session.flush()
            assert session.scalar(sa.select(sa.func.count()).select_from(Note)) == 19
            assert session.get(Note, 3).text == "changed"
            session.commit()
        columns = {column["name"]: str(column["type"]) for column in sa.inspect(connection).get_columns("sa_notes")}
        assert columns == {"id": "INTEGER", "text": "VARCHAR", "amount": "NUMERIC(12, 2)", "at": "TIMESTAMP"} or columns["text"] == "TEXT"
    finally:
        connection.rollback()
        Base.metadata.drop_all(connection)
        connection.commit()


def fails(connection, statement):
    with pytest.raises(sa.exc.DBAPIError) as refusal:
        connection.execute(sa.text(statement))
    connection.rollback()
    return refusal.value.orig.sqlstate


def errors(connection):
    assert fails(connection, "SELECT * FROM nothing") == "42P01"
    assert fails(connection, "SELECT 1/0") == "22012"
    assert fails(connection, "INSERT INTO region VALUES (0, 'AFRICA', '')") == "23505"
    connection.execute(sa.text("CREATE TABLE sa_tx (id int PRIMARY KEY)"))
    connection.commit()
    connection.execute(sa.text("INSERT INTO sa_tx VALUES (1)"))
    connection.rollback()
    assert connection.scalar(sa.text("SELECT count(*) FROM sa_tx")) == 0
    connection.execute(sa.text("DROP TABLE sa_tx"))
    connection.commit()


MANY = sa.text("SELECT a.value FROM generate_series(1, 1000) AS a(value), generate_series(1, 1000) AS b(value)")


def test_psycopg(weir):
    # Asking for hstore takes a savepoint, of which there are none.
    engine = sa.create_engine(url(weir, "psycopg"), use_native_hstore=False)
    with engine.connect() as connection:
        use(connection)
        errors(connection)
    with engine.connect() as connection:
        stream = connection.execution_options(stream_results=True, max_row_buffer=10_000).execute(MANY)
        assert sum(1 for _ in stream) == 1_000_000
    engine.dispose()


def test_asyncpg(weir):
    async def whole():
        engine = create_async_engine(url(weir, "asyncpg"))
        async with engine.connect() as connection:
            await connection.run_sync(use)
            await connection.run_sync(errors)
        async with engine.connect() as connection:
            rows = 0
            async for _ in await connection.stream(MANY):
                rows += 1
            assert rows == 1_000_000
        await engine.dispose()

    asyncio.run(whole())
