"""The command's --toxiproxy-api: alone, beside a listener, and where it makes no sense."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from interpose import BindError, ConfigError, toxiproxy
from interpose._cli.forward import run
from interpose._cli.parsing import parse
from interpose._cli.served import Served
from interpose._cli.toxiproxy import ApiListener
from support.deadline import poll
from support.peers import Address, Echo, connect, echo, ending, free_port
from support.processes import Child
from support.proxies import command as words_of_command
from support.scripts import command
from support.toxiproxy_client import address_of, is_up


@contextmanager
def started(folder: Path, *words: str) -> Generator[tuple[Child, Address]]:
    """Start the command, and yield its process with the address of the API."""
    child = Child([*words_of_command(), *words], folder, name="interpose")
    try:
        line = child.wait_for(r"listening on (\S+), with toxiproxy's API")
        yield child, address_of(line[1])
    finally:
        child.kill()


def created(api: Address, upstream: Address, **more: object) -> Address:
    body = {"name": "a", "listen": "127.0.0.1:0", "upstream": f"{upstream[0]}:{upstream[1]}", **more}
    with urlopen(Request(f"http://{api[0]}:{api[1]}/proxies", json.dumps(body).encode()), timeout=10.0) as found:
        return address_of(json.load(found)["listen"])


def test_it_serves_alone_and_drains(tmp_path: Path, upstream: Echo) -> None:
    with started(tmp_path, "--toxiproxy-api", "0", "--seed", "7") as (child, api):
        address = created(api, upstream.address)
        with connect(address) as sock:
            assert echo(sock, b"hello") == b"hello"
            os.kill(child.pid, signal.SIGUSR2)
            child.wait_for(r"SIGUSR2: 1 connection now")
            os.kill(child.pid, signal.SIGTERM)
            child.wait_for(r"draining: 1 connection left")
            poll(lambda: not is_up(api) or None, 5.0, "the API has ended")
            assert echo(sock, b"still") == b"still"
            os.kill(child.pid, signal.SIGTERM)
            assert ending(sock)[0] == "reset"
        assert child.wait(10.0) == 0


def test_it_serves_beside_a_listener(tmp_path: Path, upstream: Echo) -> None:
    target = f"{upstream.address[0]}:{upstream.address[1]}"
    with started(tmp_path, "0", target, "--toxiproxy-api", "127.0.0.1:0") as (child, api):
        first = re.search(r"listening on (\S+), forwarding to", child.output())
        assert first is not None
        for address in (address_of(first[1]), created(api, upstream.address)):
            with connect(address) as sock:
                assert echo(sock, b"hello") == b"hello"
        assert child.stop(signal.SIGTERM, 10.0) == 0


def test_a_variable_says_it_as_well() -> None:
    options = parse([], {"INTERPOSE_TOXIPROXY_API": "8474"})
    assert (options.listeners, options.command.toxiproxy_api) == ((), "8474")
    (listener,) = parse(["0", "localhost:1", "--toxiproxy-api", "0", "--seed", "7"], {}).listeners
    # The seed is that of the toxics.
    assert listener.misbehaving() == {}


def test_options_of_listeners_need_one() -> None:
    for words in (["--fault", "stall"], ["--hexdump"], ["--idle-timeout", "3"]):
        with pytest.raises(ConfigError, match="it is for LISTEN and TARGET, which are missing"):
            run(["--toxiproxy-api", "0", *words])


def test_an_address_that_is_taken_leaves_no_listener_behind() -> None:
    port = free_port()
    (listener,) = parse([f"{port}", "localhost:1"], {}).listeners
    with toxiproxy.serve(port=0) as api:
        served = Served([listener], 0.0, ApiListener(f"{api.address.port}", None))
        with pytest.raises(BindError, match="toxiproxy API: cannot listen on"):
            served.bind()
    assert not is_up(("127.0.0.1", port))


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--toxiproxy-api"], "--toxiproxy-api: its value is missing; write --toxiproxy-api 8474"),
        (["--toxiproxy-api", "99999"], 'address "99999": the port is not between 0 and 65535'),
        (["--toxiproxy-api", "unix:/x"], "is no [HOST:]PORT; give a port such as 8474"),
        (["--toxiproxy-apy", "1"], "did you mean --toxiproxy-api?"),
    ],
)
def test_slips_are_one_line(tmp_path: Path, words: list[str], error: str) -> None:
    ended = command(tmp_path, *words)
    assert ended.code == 2
    assert error in ended.err
    assert ended.err.count("\n") == 1


def test_check_tries_its_address(tmp_path: Path) -> None:
    right = command(tmp_path, "check", "--toxiproxy-api", "0")
    assert (right.code, right.out.splitlines()[0]) == (0, "0: toxiproxy's API")
    with toxiproxy.serve(port=0) as api:
        wrong = command(tmp_path, "check", "--toxiproxy-api", str(api.address))
    assert (wrong.code, "address already in use" in wrong.out) == (1, True)
