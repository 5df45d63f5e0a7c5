"""System calls that the system refuses to the proxy (a sandbox, a security module), while nothing ails the peers."""

from __future__ import annotations

import ast
import errno
import hashlib
import socket
import subprocess
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support.peers import Address, bound_address, connect, ending, listener
from support.processes import Child
from support.scripts import passes, python_argv
from support.seccomp import NUMBERS

pytestmark = pytest.mark.skipif(not NUMBERS, reason="needs Linux on a machine whose calls are known here")

PROXY = """
import sys
from interpose import TheServer
from support.seccomp import refuse
port, error = map(int, sys.argv[2:])
if not refuse(sys.argv[1], error):
    print("no seccomp", flush=True)
with TheServer("", 0, ("127.0.0.1", port)) as server:
    print(server.address[1], flush=True)
    sys.stdin.readline()
print({str(reason): count for reason, count in server.stats.closed.items() if count}, flush=True)
"""


class Refused:
    """A proxy that one call is refused to."""

    def __init__(self, child: Child, listening: socket.socket) -> None:
        assert child.popen.stdin is not None
        assert child.popen.stdout is not None
        self._child, self._stdin, self._stdout = child, child.popen.stdin, child.popen.stdout
        self._listening = listening
        first = self._stdout.readline().decode().strip()
        if first == "no seccomp":
            pytest.skip("seccomp is not to be had here")
        self.address: Address = ("127.0.0.1", int(first))

    @contextmanager
    def pair(self) -> Generator[tuple[socket.socket, socket.socket]]:
        """Connect through it."""
        with connect(self.address) as client, self._listening.accept()[0] as upstream:
            # Far less than any limit of the proxy's.
            client.settimeout(3)
            upstream.settimeout(3)
            yield client, upstream

    def closed(self) -> dict[str, int]:
        """End it; the connections by reason."""
        self._stdin.write(b"\n")
        self._stdin.flush()
        closed: dict[str, int] = ast.literal_eval(self._stdout.readline().decode())
        assert self._child.wait(10) == 0, self._child.output()
        return closed


@contextmanager
def refusing(folder: Path, call: str, error: int) -> Generator[Refused]:
    """A proxy to which `call` is refused with `error`."""
    with ExitStack() as stack:
        listening = stack.enter_context(listener())
        argv = python_argv(PROXY, call, str(bound_address(listening)[1]), str(error))
        child = stack.enter_context(Child(argv, folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        yield Refused(child, listening)


@pytest.mark.parametrize("error", ["ENOSYS", "EPERM", "ENOMEM", "EINVAL", "EIO"])
def test_a_stream_that_cannot_be_spliced_is_copied(tmp_path: Path, error: str) -> None:
    data = bytes(range(256)) * (1 << 16)

    def send(sock: socket.socket) -> None:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)

    with refusing(tmp_path, "splice", getattr(errno, error)) as proxy:
        for sends in (0, 1):
            with proxy.pair() as pair:
                sending = threading.Thread(target=send, args=(pair[sends],))
                sending.start()
                end, received = ending(pair[1 - sends])
                sending.join()
                assert (end, hashlib.sha256(received).digest()) == ("eof", hashlib.sha256(data).digest())
                pair[1 - sends].shutdown(socket.SHUT_WR)
                assert pair[sends].recv(1) == b""
        assert proxy.closed() == {"finished": 2}


def is_reset(sock: socket.socket) -> bool:
    """Wait for the end, which may not be one in order."""
    return ending(sock)[0] == "reset"


@pytest.mark.parametrize("call", ["sendto", "recvfrom", "shutdown"])
def test_both_sides_know_at_once_of_a_call_that_is_refused(tmp_path: Path, call: str) -> None:
    """The sockets live on, so no peer would ever learn of it by itself."""
    with refusing(tmp_path, call, errno.EPERM) as proxy:
        for acts in (0, 1):
            with proxy.pair() as pair:
                if call == "shutdown":
                    pair[acts].shutdown(socket.SHUT_WR)
                else:
                    pair[acts].sendall(b"x")
                assert is_reset(pair[0])
                assert is_reset(pair[1])
        # The side whose socket failed is the cause: who sends for a read, the other for the rest.
        assert proxy.closed() == {"client_lost": 1, "upstream_lost": 1}


def test_both_sides_know_at_once_though_one_goes_on_sending(tmp_path: Path) -> None:
    """Who sends without end to the proxy is not read to its end first."""

    def send(sock: socket.socket, done: list[bool]) -> None:
        try:
            while True:
                sock.send(bytes(1 << 16), getattr(socket, "MSG_NOSIGNAL", 0))
        except ConnectionError:
            done.append(True)
        except OSError:
            done.append(False)

    with refusing(tmp_path, "sendto", errno.EPERM) as proxy, proxy.pair() as pair:
        done: list[bool] = []
        senders = [threading.Thread(target=send, args=(sock, done)) for sock in pair]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join(5)
        assert done == [True, True]


@pytest.mark.parametrize("resets", ["client", "upstream"])
@pytest.mark.parametrize("hooks", ["", ", on_recv=lambda side, data: None"], ids=["native", "hooked"])
def test_a_failure_is_no_orderly_end_where_a_socket_cannot_be_disconnected(
    tmp_path: Path, hooks: str, resets: str
) -> None:
    """In a process that has forked a close may not be the last one, so that ends are said before it."""
    text = f"""
    import errno, os, warnings
    from interpose import TheServer
    from support.peers import bound_address, connect, ending, listener, reset
    from support.seccomp import refuse
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    with listener() as up, TheServer("", 0, bound_address(up){hooks}) as server, connect(server.address) as client:
        client.sendall(b"x")
        upstream, _ = up.accept()
        upstream.settimeout(10)
        assert upstream.recv(1) == b"x"
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        if refuse("connect", errno.EPERM):
            reset({resets})
            print(ending({"upstream" if resets == "client" else "client"})[0])
        else:
            print("no seccomp")
    """
    said = passes(tmp_path, text)
    if said == "no seccomp\n":
        pytest.skip("seccomp is not to be had here")
    assert said == "reset\n"


def test_a_listener_that_may_not_be_asked_whether_it_listens_goes_on(tmp_path: Path) -> None:
    """It is asked when an accept has failed, because only a socket that somebody has ended is given up."""
    text = """
    import errno, logging, resource, socket
    from interpose import TheServer
    from support.deadline import poll
    from support.peers import bound_address, listener
    from support.seccomp import refuse
    SO_ACCEPTCONN = 30
    logging.disable(logging.CRITICAL)
    with listener() as up, TheServer("", 0, bound_address(up)) as server, socket.socket() as client:
        client.settimeout(10)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        if refuse("getsockopt", errno.EPERM, SO_ACCEPTCONN):
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
            client.connect(server.address)
            poll(lambda: server.stats.accept_errors, 5, "accepting fails")
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            client.sendall(b"x")
            with up.accept()[0] as upstream:
                print(upstream.recv(1))
        else:
            print("no seccomp")
    """
    said = passes(tmp_path, text)
    if said == "no seccomp\n":
        pytest.skip("seccomp is not to be had here")
    assert said == "b'x'\n"


@pytest.mark.parametrize(("call", "third"), [("getsockopt", "SO_PEERCRED"), ("socket", "NETLINK_SOCK_DIAG")])
def test_a_unix_client_is_served_though_the_system_does_not_say_whose_it_is(
    tmp_path: Path, call: str, third: str
) -> None:
    """It is asked for the sake of loops, and of no connection that is none."""
    text = f"""
    import errno
    from pathlib import Path
    from interpose import TheServer
    from support.peers import Echo, echo
    from support.seccomp import refuse
    import socket
    SO_PEERCRED, NETLINK_SOCK_DIAG = 17, 4
    path = str(Path("listener").resolve())
    with Echo() as upstream, TheServer("unix:" + path, forward_to=upstream.address) as server:
        for error in (errno.EPERM, errno.EACCES, errno.EMFILE, errno.ENOBUFS):
            if not refuse("{call}", error, {third}):
                print("no seccomp")
                break
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(10)
                client.connect(path)
                print(echo(client, b"x"))
    """
    said = passes(tmp_path, text)
    if said == "no seccomp\n":
        pytest.skip("seccomp is not to be had here")
    assert said == "b'x'\n" * 4
