"""The clients, by the words of the page, with what they ask."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from . import databases, messaging, redis_and_http, servers
from .subject import Subject

Serve = Callable[[Path], AbstractContextManager[int]]
CLIENTS: dict[str, tuple[Callable[[str, int], Subject], Serve]] = {
    "redis-py": (redis_and_http.Redis, servers.redis_server),
    "redis-py with a retry": (redis_and_http.RedisAgain, servers.redis_server),
    "redis-py on asyncio": (redis_and_http.AsyncRedis, servers.redis_server),
    "httpx": (redis_and_http.Httpx, servers.http_server),
    "httpx on asyncio": (redis_and_http.AsyncHttpx, servers.http_server),
    "aiohttp": (redis_and_http.Aiohttp, servers.http_server),
    "psycopg": (databases.Psycopg, servers.postgres_server),
    "psycopg_pool": (databases.PsycopgPoolUnchecked, servers.postgres_server),
    "psycopg_pool with a check": (databases.PsycopgPool, servers.postgres_server),
    "asyncpg": (databases.Asyncpg, servers.postgres_server),
    "asyncpg's pool": (databases.AsyncpgPool, servers.postgres_server),
    "PyMySQL": (databases.Pymysql, servers.mariadb_server),
    "paho-mqtt": (messaging.Paho, servers.mqtt_server),
    "grpcio": (messaging.Grpc, servers.grpc_server),
}


class Ports:
    """The servers of the session, each started with its first client."""

    def __init__(self, stack: ExitStack, folders: pytest.TempPathFactory) -> None:
        self._stack, self._folders = stack, folders
        self._ports: dict[Serve, int] = {}

    def of(self, serve: Serve) -> int:
        """Return the port of a server."""
        if serve not in self._ports:
            self._ports[serve] = self._stack.enter_context(serve(self._folders.mktemp("server")))
        return self._ports[serve]
