"""The sockets of a replay, on one thread."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from ._channel import Channel


class Channels:
    """Waits for sockets, and has their channels go on. `on_over` is called with each that is over."""

    def __init__(self, on_over: Callable[[Channel], None]) -> None:
        self._selector = selectors.DefaultSelector()
        self._on_over = on_over
        self._channels: dict[Channel, int] = {}

    def __len__(self) -> int:
        return len(self._channels)

    @property
    def live(self) -> list[Channel]:
        """The channels that are not over."""
        return list(self._channels)

    def watch(self, sock: socket.socket, call: Callable[[], None]) -> None:
        """Call `call` whenever a socket of another kind has something to be read."""
        self._selector.register(sock, selectors.EVENT_READ, call)

    def forget(self, sock: socket.socket) -> None:
        """Watch such a socket no more."""
        with suppress(KeyError):
            self._selector.unregister(sock)

    def add(self, channel: Channel) -> None:
        """Play a channel from now on."""
        self._channels[channel] = 0
        self._step(channel, time.monotonic())

    def go_on(self) -> None:
        """Have all channels go on: what they wait for may have happened elsewhere."""
        now = time.monotonic()
        for channel in self.live:
            self._step(channel, now)

    def turn(self, limit: float | None = None) -> bool:
        """Wait until something comes, or is due, at most `limit` seconds; return whether something has come."""
        ready = self._selector.select(self._pause(limit))
        now = time.monotonic()
        for key, mask in ready:
            if not isinstance(key.data, Channel):
                key.data()
                continue
            if mask & selectors.EVENT_READ:
                key.data.read(now)
            self._step(key.data, now)
        for channel in self.live:
            if channel.wake_at is not None and channel.wake_at <= now:
                self._step(channel, now)
        return bool(ready)

    def close(self) -> None:
        """End all that is left."""
        for channel in self.live:
            channel.release()
        self._channels.clear()
        self._selector.close()

    def _pause(self, limit: float | None) -> float | None:
        wakes = [channel.wake_at for channel in self._channels if channel.wake_at is not None]
        pause = max(0.0, min(wakes) - time.monotonic()) if wakes else None
        return limit if pause is None else pause if limit is None else min(pause, limit)

    def _step(self, channel: Channel, now: float) -> None:
        """Have a channel go on, and wait for what it needs then."""
        before = self._channels.get(channel)
        if before is None:
            return
        if not channel.is_over:
            channel.go_on(now)
        wanted = 0
        if not channel.is_over:
            wanted = (selectors.EVENT_READ if channel.reads else 0) | (selectors.EVENT_WRITE * channel.wants_write)
        if wanted != before:
            self._register(channel, before, wanted)
        if channel.is_over:
            del self._channels[channel]
            # What is known of the end is known before the peer sees it.
            self._on_over(channel)
            channel.release()
        else:
            self._channels[channel] = wanted

    def _register(self, channel: Channel, before: int, wanted: int) -> None:
        if not before:
            self._selector.register(channel.sock, wanted, channel)
        elif wanted:
            self._selector.modify(channel.sock, wanted, channel)
        else:
            self._selector.unregister(channel.sock)
