"""An API from its beginning to its end: where it listens, who is warned, and that nothing of it is left."""

from __future__ import annotations

import copy
import doctest
import os
import socket
import threading
import time
from pathlib import Path

import interpose
import pytest
from interpose import toxiproxy
from interpose.toxiproxy import ToxiproxyApi
from support.deadline import poll
from support.peers import Echo, connect, echo, ending, free_port
from support.scripts import passes
from support.toxiproxy_client import Client, is_up


def test_it_is_there_without_an_import_of_its_own(tmp_path: Path) -> None:
    text = "import interpose; api = interpose.toxiproxy.serve(port=0); print(api.address.host); api.stop()"
    assert passes(tmp_path, text) == "127.0.0.1\n"


def test_the_package_alone_loads_nothing_of_it(tmp_path: Path) -> None:
    text = "import sys, interpose; interpose.TheServer; print([m for m in sys.modules if 'toxiproxy' in m])"
    assert passes(tmp_path, text) == "[]\n"


def _threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name == "interpose-toxiproxy"}


def test_nothing_is_left_whatever_clients_do(upstream: Echo) -> None:
    # The core's own threads and descriptors stay for the next server.
    with toxiproxy.serve(port=0) as warming, connect(Client(warming).proxy(upstream.address)) as sock:
        assert echo(sock, b"hello") == b"hello"
    poll(lambda: upstream.open() == 0 or None, 5.0, "the upstream has none of it")
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    with toxiproxy.serve(port=0) as api:
        client = Client(api)
        listens = [f"127.0.0.1:{free_port()}", *["127.0.0.1:0"] * 9]
        addresses = [client.proxy(upstream.address, f"{n}", listen) for n, listen in enumerate(listens)]
        client.toxic("latency", "0", latency=60_000)
        client.done("PATCH", "/proxies/1", {"enabled": False})
        held = [connect(address) for address in (addresses[0], *addresses[2:])]
        held[0].sendall(b"held")
        for sock in held[1:]:
            assert echo(sock, b"hello") == b"hello"
        asking = connect(api.address)
        asking.sendall(b"GET /prox")
        begin = time.monotonic()
    assert time.monotonic() - begin < 1.0
    assert not _threads()
    for sock in held[1:]:
        assert ending(sock) == ("eof", b"")
    for sock in (*held, asking):
        sock.close()
    socket.create_server(addresses[0]).close()
    if before:
        poll(lambda: len(os.listdir("/proc/self/fd")) <= before or None, 5.0, "all descriptors are closed")
    assert api.servers == {}
    assert "stopped" in repr(api)
    api.stop()


def test_stop_lets_connections_finish(upstream: Echo) -> None:
    api = toxiproxy.serve(port=0)
    address = Client(api).proxy(upstream.address)
    with connect(address) as sock:
        assert echo(sock, b"hello") == b"hello"
        stopping = threading.Thread(target=api.stop, args=(10.0,))
        stopping.start()
        poll(lambda: not is_up(address) or None, 5.0, "nobody listens any more")
        assert echo(sock, b"still") == b"still"
        sock.shutdown(socket.SHUT_WR)
        assert ending(sock) == ("eof", b"")
    stopping.join(5.0)
    assert not stopping.is_alive()


def test_main_loop_waits_for_stop() -> None:
    api = toxiproxy.serve(port=0)
    threading.Timer(0.1, api.stop).start()
    begin = time.monotonic()
    api.main_loop()
    assert time.monotonic() - begin >= 0.09
    assert not _threads()


def test_ctrl_c_ends_main_loop_and_everything(tmp_path: Path) -> None:
    text = """
        import os, signal, threading
        from interpose import toxiproxy
        api = toxiproxy.serve(port=0)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            api.main_loop()
        except KeyboardInterrupt:
            print(repr(api).split(", ")[1])
    """
    assert passes(tmp_path, text) == "stopped>\n"


def test_a_program_that_does_not_stop_it_ends_all_the_same(tmp_path: Path) -> None:
    assert passes(tmp_path, "from interpose import toxiproxy; toxiproxy.serve(port=0); print('end')") == "end\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_none(tmp_path: Path) -> None:
    text = """
        import os, interpose
        from interpose import toxiproxy
        with toxiproxy.serve(port=0) as api:
            child = os.fork()
            if not child:
                try:
                    api.stop()
                except interpose.ForkError as error:
                    os.write(1, b"refused\\n")
            else:
                os.waitpid(child, 0)
        if not child:
            os._exit(0)
        print("parent")
    """
    assert passes(tmp_path, text) == "refused\nparent\n"


def test_addresses_that_cannot_be_had() -> None:
    with toxiproxy.serve(port=0) as api:
        with pytest.raises(interpose.BindError, match="address already in use; another program") as caught:
            toxiproxy.serve(port=api.address.port)
        assert caught.value.errno is not None
    with pytest.raises(interpose.ResolveError, match="the name has no address"):
        toxiproxy.serve("no.such.host.invalid", 0)
    with pytest.raises(interpose.BindError, match="give an address of this machine"):
        toxiproxy.serve("192.0.2.1", 0)
    with pytest.raises(interpose.ConfigError, match="between 0 and 65535"):
        toxiproxy.serve(port=70000)
    with pytest.raises(interpose.ArgumentTypeError, match="write serve"):
        toxiproxy.serve(8474)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(interpose.ArgumentTypeError, match="port: it is str"):
        toxiproxy.serve(port="8474")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(interpose.ArgumentTypeError, match=r"address: there is no such argument; did you mean host\?"):
        toxiproxy.serve(address="127.0.0.1")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    with pytest.raises(interpose.ConfigError, match="seed"):
        toxiproxy.serve(port=0, seed=-1)
    assert not _threads()


def test_it_cannot_be_copied() -> None:
    with toxiproxy.serve(port=0) as api, pytest.raises(interpose.ArgumentTypeError, match="make another one"):
        copy.copy(api)


def test_an_address_that_others_reach_is_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    with toxiproxy.serve("0.0.0.0", 0) as api:
        assert api.address.host == "0.0.0.0"
        assert Client(api).call("GET", "/version").status == 200
    (record,) = [one for one in caplog.records if one.name == "interpose.toxiproxy"]
    assert "every machine that can reach this one" in record.getMessage()
    caplog.clear()
    with toxiproxy.serve("localhost", 0):
        pass
    assert not caplog.records


def test_many_clients_at_once(client: Client, upstream: Echo) -> None:
    wrong: list[BaseException] = []

    def work(name: str) -> None:
        try:
            address = client.proxy(upstream.address, name)
            for _ in range(3):
                client.toxic("latency", name, latency=1)
                with connect(address) as sock:
                    assert echo(sock, name.encode()) == name.encode()
                client.done("DELETE", f"/proxies/{name}/toxics/latency_downstream")
                client.done("GET", "/proxies")
                client.done("POST", f"/proxies/{name}", {"enabled": False})
                client.done("POST", f"/proxies/{name}", {"enabled": True})
            client.done("DELETE", f"/proxies/{name}")
        except BaseException as error:
            wrong.append(error)
            raise

    threads = [threading.Thread(target=work, args=(f"proxy{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    assert wrong == []
    assert client.done("GET", "/proxies") == {}


NAMES = ("address", "url", "servers", "main_loop", "begin_stop", "stop")
DOCS = {
    "toxiproxy": toxiproxy.__doc__ or "",
    "serve": toxiproxy.serve.__doc__ or "",
    "ToxiproxyApi": ToxiproxyApi.__doc__ or "",
    **{f"ToxiproxyApi.{name}": vars(ToxiproxyApi)[name].__doc__ or "" for name in NAMES},
}


@pytest.mark.parametrize("text", DOCS.values(), ids=DOCS)
def test_examples_of_the_docstrings_run(text: str) -> None:
    test = doctest.DocTestParser().get_doctest(text, {}, "example", None, 0)
    assert text
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test).failed == 0
