"""Clients of MQTT and gRPC."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

import pytest

from .servers import METHOD
from .subject import Subject, answer_of, question_of
from .trouble import LIMIT


class NoMessageError(Exception):
    """Nothing came within the limit of the wait for a message."""


class Paho(Subject):
    """paho-mqtt with its thread, which subscribes anew whenever it has connected."""

    topic = "asked"

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._mqtt: Any = pytest.importorskip("paho.mqtt.client")
        self._messages: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._client: Any = None
        self._is_ready = threading.Event()

    def _connected(self) -> Any:
        client = self._mqtt.Client(self._mqtt.CallbackAPIVersion.VERSION2)
        client.on_connect, client.on_subscribe = self._subscribe, self._subscribed
        client.on_disconnect, client.on_message = self._lost, self._came
        client.reconnect_delay_set(min_delay=0.05)
        client.connect_timeout = LIMIT
        client.connect(self.host, self.port)
        client.loop_start()
        return client

    def _subscribe(self, client: Any, *_: Any) -> None:
        client.subscribe(self.topic, 1)

    def _subscribed(self, *_: Any) -> None:
        self._is_ready.set()

    def _lost(self, *_: Any) -> None:
        self._is_ready.clear()

    def _came(self, _: Any, __: Any, message: Any) -> None:
        self._messages.put(message.payload.decode("latin-1"))

    def wait_ready(self) -> None:
        self._is_ready.wait(3 * LIMIT)

    def ask(self, number: int) -> str:
        """Publish, and wait for the same to come back."""
        if self._client is None:
            self._client = self._connected()
            self.wait_ready()
        text = answer_of(number)
        sent = self._client.publish(self.topic, text, 1)
        end = time.monotonic() + LIMIT
        try:
            while (came := self._messages.get(timeout=max(0, end - time.monotonic()))) != text:
                if came not in {answer_of(other) for other in range(10)}:
                    return came
        except queue.Empty:
            said = "published" if sent.is_published() else "not published"
            raise NoMessageError(said) from None
        return came

    def close(self) -> None:
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()


class Grpc(Subject):
    """grpcio with a deadline for each call, and short pauses between its attempts to connect."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._grpc = grpc = pytest.importorskip("grpc")
        pauses = [(f"grpc.{name}_reconnect_backoff_ms", 100) for name in ("initial", "min", "max")]
        self._channel = grpc.insecure_channel(f"{host}:{port}", options=[*pauses, ("grpc.enable_http_proxy", 0)])
        self._call = self._channel.unary_unary(METHOD)

    def ask(self, number: int) -> str:
        answer: bytes = self._call(question_of(number).encode(), timeout=LIMIT)
        return answer.decode("latin-1")

    def wait_ready(self) -> None:
        try:
            self._grpc.channel_ready_future(self._channel).result(3 * LIMIT)
        except self._grpc.FutureTimeoutError:
            pass

    def close(self) -> None:
        self._channel.close()
