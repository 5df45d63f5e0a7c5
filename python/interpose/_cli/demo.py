"""`interpose demo`: one request through a proxy, with everything it needs in this process."""

from __future__ import annotations

import http.client
import http.server
import socketserver
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from .._addresses import address_text
from .._connection import Connection
from .._exceptions import InterposeError, printable
from .._forward import Forward
from .._server import TheServer
from .arguments import read_words
from .commands import command_of
from .console import FAILED, OK, complain, say, take_output

_PATIENCE_SECONDS = 1.5
_BODY = b"Hello from the upstream\n"


class _Hello(http.server.BaseHTTPRequestHandler):
    """Answers every GET with one line of text."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(_BODY)))
        self.end_headers()
        self.wfile.write(_BODY)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its parent's name for it)
        """Say nothing: the demo itself reports what flowed."""


class _Upstream(socketserver.ThreadingTCPServer):
    # http.server.HTTPServer would ask the resolver for this machine's name, which may take seconds.
    daemon_threads = True
    block_on_close = False


def run(words: Sequence[str]) -> int:
    """Read the words, show the demo, and return the command's exit code."""
    read_words(command_of(["demo"]), words)
    take_output()
    return show()


def show() -> int:
    """Show the demo and return the command's exit code."""
    try:
        with _upstream() as port:
            server = TheServer("", 0, forward_to=Forward("127.0.0.1", port, connect_timeout=_PATIENCE_SECONDS))
            with server:
                _show(server, port)
    except (InterposeError, OSError, http.client.HTTPException) as error:
        complain(f"demo: {str(error) or type(error).__name__}; it needs free ports of 127.0.0.1 and nothing else")
        return FAILED
    return OK


@contextmanager
def _upstream() -> Generator[int]:
    with _Upstream(("127.0.0.1", 0), _Hello) as upstream:
        thread = threading.Thread(target=upstream.serve_forever, args=(0.02,), name="demo-upstream", daemon=True)
        thread.start()
        try:
            yield upstream.socket.getsockname()[1]
        finally:
            upstream.shutdown()


def _show(server: TheServer, port: int) -> None:
    listening = address_text(server.address)
    say(f"upstream   127.0.0.1:{port}, a web server made for this demo")
    say(f"interpose  listening on {listening}, forwarding to 127.0.0.1:{port}")
    client = http.client.HTTPConnection(listening, timeout=_PATIENCE_SECONDS)
    try:
        client.request("GET", "/hello")
        response = client.getresponse()
        body = response.read()
        # The client has not closed yet, so the connection still lives.
        connection = server.connections[0]
        say(f"client     {_path(connection)}")
        say("request    GET /hello HTTP/1.1")
        say(printable(f"response   {response.status} {response.reason}: {body.decode('ascii', 'replace').strip()}"))
    finally:
        client.close()
    server.stop(drain=_PATIENCE_SECONDS)
    upward, downward = connection.to_upstream, connection.to_client
    say(f"bytes      {upward.delivered} to the upstream, {downward.delivered} to the client")
    say(f"end        {connection.reason}")
    say("")
    say("Now a port of your own:  interpose 9090 example.org:80")
    say("and then, elsewhere:     curl -H 'Host: example.org' http://127.0.0.1:9090/")


def _path(connection: Connection) -> str:
    client, upstream = connection.client, connection.upstream
    if upstream is None:
        raise ConnectionError("the upstream's side is missing")
    names = (client.getpeername(), client.getsockname(), upstream.getsockname(), upstream.getpeername())
    return " -> ".join(map(address_text, names[:2])) + " = " + " -> ".join(map(address_text, names[2:]))
