"""Clients of Redis and of HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from .subject import AsyncSubject, Subject, question_of
from .trouble import LIMIT


class Redis(Subject):
    """redis-py, which is not to try again."""

    def __init__(self, host: str, port: int, tries_again: int = 0) -> None:
        super().__init__(host, port)
        redis: Any = pytest.importorskip("redis")
        retry: Any = pytest.importorskip("redis.retry")
        backoff: Any = pytest.importorskip("redis.backoff")
        limits = {"socket_timeout": LIMIT, "socket_connect_timeout": LIMIT}
        again = retry.Retry(backoff.NoBackoff(), tries_again)
        self._client = redis.Redis(host, port, decode_responses=True, retry=again, **limits)

    def ask(self, number: int) -> str:
        return str(self._client.get(question_of(number)))

    def close(self) -> None:
        self._client.close()


class RedisAgain(Redis):
    """redis-py, which tries once more."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port, tries_again=1)


class AsyncRedis(AsyncSubject):
    """redis-py on asyncio, which is not to try again."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        redis: Any = pytest.importorskip("redis.asyncio")
        retry: Any = pytest.importorskip("redis.asyncio.retry")
        backoff: Any = pytest.importorskip("redis.backoff")
        limits = {"socket_timeout": LIMIT, "socket_connect_timeout": LIMIT}
        self._client = redis.Redis(
            host=host, port=port, decode_responses=True, retry=retry.Retry(backoff.NoBackoff(), 0), **limits
        )

    async def answered(self, number: int) -> str:
        return str(await self._client.get(question_of(number)))

    async def left(self) -> None:
        await self._client.aclose()


class Httpx(Subject):
    """httpx.Client, which keeps its connection."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        httpx: Any = pytest.importorskip("httpx")
        self._client = httpx.Client(base_url=f"http://{host}:{port}", timeout=LIMIT, trust_env=False)

    def ask(self, number: int) -> str:
        return str(self._client.get(f"/{question_of(number)}").raise_for_status().text)

    def close(self) -> None:
        self._client.close()


class AsyncHttpx(AsyncSubject):
    """httpx.AsyncClient."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        httpx: Any = pytest.importorskip("httpx")
        self._client = httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=LIMIT, trust_env=False)

    async def answered(self, number: int) -> str:
        answer = await self._client.get(f"/{question_of(number)}")
        return str(answer.raise_for_status().text)

    async def left(self) -> None:
        await self._client.aclose()


class Aiohttp(AsyncSubject):
    """aiohttp with a limit for the whole request."""

    limits: dict[str, float] = {"total": LIMIT}  # noqa: RUF012

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._aiohttp: Any = pytest.importorskip("aiohttp")
        self._session: Any = None

    async def answered(self, number: int) -> str:
        if self._session is None:
            limit = self._aiohttp.ClientTimeout(**self.limits)
            self._session = self._aiohttp.ClientSession(timeout=limit, raise_for_status=True)
        async with self._session.get(f"http://{self.host}:{self.port}/{question_of(number)}") as answer:
            return str(await answer.text())

    async def left(self) -> None:
        if self._session is not None:
            await self._session.close()
