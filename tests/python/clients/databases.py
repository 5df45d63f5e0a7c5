"""Clients of PostgreSQL and MariaDB."""

from __future__ import annotations

from typing import Any

import pytest

from .subject import LONG_NUMBER, AsyncSubject, Subject, answer_of
from .trouble import LIMIT, LONG


def statement_of(number: int) -> str:
    """Return a question in SQL."""
    text = f"repeat('x', {LONG})" if number == LONG_NUMBER else f"'{answer_of(number)}'"
    return f"SELECT {text} AS a"


class Psycopg(Subject):
    """psycopg with one connection. libpq has no limit for an answer, and 2 s at least for connecting."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._psycopg: Any = pytest.importorskip("psycopg")
        self._connection: Any = None

    def ask(self, number: int) -> str:
        if self._connection is None:
            where: dict[str, Any] = {"host": self.host, "port": self.port, "user": "tester", "dbname": "postgres"}
            self._connection = self._psycopg.connect(**where, connect_timeout=2, autocommit=True)
        return str(self._connection.execute(statement_of(number)).fetchone()[0])

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class PsycopgPool(Subject):
    """psycopg_pool with one connection, which it checks before giving it out."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        module: Any = pytest.importorskip("psycopg_pool")
        kind, self._timeout = module.ConnectionPool, module.PoolTimeout
        plain = {"autocommit": True}
        where = f"host={host} port={port} user=tester dbname=postgres connect_timeout=2"
        self._pool = kind(
            where, min_size=1, max_size=1, timeout=LIMIT, open=False, check=self.check_of(kind), kwargs=plain
        )

    def check_of(self, kind: Any, /) -> Any:
        """Return what the pool checks a connection with."""
        return kind.check_connection

    def ask(self, number: int) -> str:
        self._pool.open()
        with self._pool.connection() as connection:
            return str(connection.execute(statement_of(number)).fetchone()[0])

    def wait_ready(self) -> None:
        try:
            self._pool.wait(3 * LIMIT)
        except self._timeout:
            pass

    def close(self) -> None:
        self._pool.close()


class PsycopgPoolUnchecked(PsycopgPool):
    """psycopg_pool as it is without a check."""

    def check_of(self, _: Any, /) -> Any:
        return None


class Asyncpg(AsyncSubject):
    """asyncpg with one connection."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._asyncpg: Any = pytest.importorskip("asyncpg")
        self._connection: Any = None

    async def answered(self, number: int) -> str:
        if self._connection is None:
            where: dict[str, Any] = {"host": self.host, "port": self.port, "user": "tester", "database": "postgres"}
            self._connection = await self._asyncpg.connect(**where, ssl=False, timeout=LIMIT, command_timeout=LIMIT)
        return str(await self._connection.fetchval(statement_of(number)))

    async def left(self) -> None:
        if self._connection is not None:
            self._connection.terminate()


class AsyncpgPool(AsyncSubject):
    """asyncpg's pool of one connection."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._asyncpg: Any = pytest.importorskip("asyncpg")
        self._pool: Any = None

    async def answered(self, number: int) -> str:
        if self._pool is None:
            where: dict[str, Any] = {"host": self.host, "port": self.port, "user": "tester", "database": "postgres"}
            limits = {"timeout": LIMIT, "command_timeout": LIMIT}
            self._pool = await self._asyncpg.create_pool(**where, ssl=False, **limits, min_size=1, max_size=1)
        return str(await self._pool.fetchval(statement_of(number)))

    async def left(self) -> None:
        if self._pool is not None:
            self._pool.terminate()


class Pymysql(Subject):
    """PyMySQL with one connection."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._pymysql: Any = pytest.importorskip("pymysql")
        self._connection: Any = None

    def ask(self, number: int) -> str:
        if self._connection is None:
            limits = {"connect_timeout": LIMIT, "read_timeout": LIMIT, "write_timeout": LIMIT}
            # To make ready for TLS takes as long as some limits here on a busy machine.
            where: dict[str, Any] = {"host": self.host, "port": self.port, "user": "root", "ssl_disabled": True}
            self._connection = self._pymysql.connect(**where, **limits)
        with self._connection.cursor() as cursor:
            cursor.execute(statement_of(number))
            return str(cursor.fetchone()[0])

    def close(self) -> None:
        if self._connection is not None and self._connection.open:
            self._connection.close()
