"""Replays: what was recorded between a client and its server is played again, without one of them.

    from interpose import replay
    from interpose.testing import Proxy

    with Proxy("127.0.0.1:6379") as proxy, proxy.record("session.jsonl"):
        ...  # once, with the server

    with replay.serve("session.jsonl") as server:
        ...  # from then on: connect to server.address, and nothing else runs

`serve` plays the server, `play` the clients. Both compare every byte that the real side sends; ReplayError says where
it is another. Tests of pytest have the fixture `tcp_replay`, and shells the command `interpose replay`.

>>> from interpose.replay import Recording
>>> Recording(()) == Recording(())
True
"""

from ._client import play
from ._conversation import Conversation, Event
from ._factory import ReplayFactory
from ._recording import Recording
from ._server import Replay, serve

__all__ = ["Conversation", "Event", "Recording", "Replay", "ReplayFactory", "play", "serve"]
