"""The plugin of pytest: its fixtures in runs of their own."""

from __future__ import annotations

import re

from support.pytest_runs import Run, output_of


def test_nothing_has_to_be_configured(run: Run) -> None:
    result = run(
        """
def test_it(tcp_proxy):
    p = tcp_proxy(UPSTREAM)
    assert ask(p) == b"hello"
    assert p.transcript.to_upstream() == p.transcript.to_client() == b"hello"
    assert [one.reason for one in p.wait_closed()] == ["finished"]
    q = tcp_proxy(f"{UPSTREAM[0]}:{UPSTREAM[1]}", on_client_recv=lambda side, data: data.upper())
    assert ask(q) == b"HELLO"

async def later(p):
    reader, writer = await asyncio.open_connection(*p.address)
    writer.write(b"hello")
    await p.aio.wait_for(b"hello", direction="to_client")
    writer.close()

def test_async(tcp_proxy):
    asyncio.run(later(tcp_proxy(UPSTREAM)))
""",
        apart=True,
    )
    result.assert_outcomes(passed=2)


def test_it_works_in_tests_of_anyio(run: Run) -> None:
    result = run(
        """
import anyio
pytestmark = pytest.mark.anyio

@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param

async def test_it(tcp_proxy):
    p = tcp_proxy(UPSTREAM)
    async with await anyio.connect_tcp(*p.address) as client:
        await client.send(b"hello")
        seen = await p.aio.wait_for(b"hello", direction="to_client")
        assert await client.receive() == b"hello"
    assert (await p.aio.wait_closed(seen.connection))[0].reason == "finished"

async def test_a_callback_on_the_loop_of_the_test(tcp_proxy, anyio_backend):
    if anyio_backend == "trio":
        pytest.skip("callbacks are of asyncio")
    go = asyncio.Event()

    async def hold(side, data):
        await go.wait()

    p = tcp_proxy(UPSTREAM, on_upstream_recv=hold)
    async with await anyio.connect_tcp(*p.address) as client:
        await client.send(b"hello")
        await p.aio.wait_for(b"hello", direction="to_client")
        go.set()
        assert await client.receive() == b"hello"

async def test_a_wait_that_would_block_the_loop(tcp_proxy):
    with pytest.raises(RuntimeError, match="await proxy.aio.wait_for"):
        tcp_proxy(UPSTREAM).wait_for(b"x")
""",
        "-p",
        "anyio.pytest_plugin",
    )
    result.assert_outcomes(passed=5, skipped=1)


def test_what_a_callback_raises_fails_the_test_with_its_own_traceback(run: Run) -> None:
    result = run("""
def test_assert(tcp_proxy):
    p = tcp_proxy(UPSTREAM)
    @p.on_client_recv
    def look(side, data):
        assert data == b"other"
    with pytest.raises(ConnectionResetError):
        ask(p)

def test_the_client_fails_by_it(tcp_proxy):
    p = tcp_proxy(UPSTREAM)
    @p.on_client_recv
    def look(side, data):
        raise LookupError("the cause")
    ask(p)

def test_fail(tcp_proxy):
    p = tcp_proxy(UPSTREAM, on_close=lambda conn: pytest.fail("it ended"))
    ask(p)
    p.wait_closed()

def test_two(tcp_proxy):
    def look(conn):
        raise LookupError(conn.id)
    ask(tcp_proxy(UPSTREAM, on_close=look))
    ask(tcp_proxy(UPSTREAM, on_close=look))
    for p in tcp_proxy.proxies:
        p.wait_closed()

def test_passes(tcp_proxy):
    ask(tcp_proxy(UPSTREAM))

@pytest.fixture
def held():
    clients = []
    yield clients
    clients[0].close()

def test_too_late(held, tcp_proxy):
    p = tcp_proxy(UPSTREAM, on_close=lambda conn: {}["late"])
    held.append(socket.create_connection(p.address))
    p.wait_for_connections(1)
""")
    result.assert_outcomes(failed=4, passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            '*>*assert data == b"other"',
            "E       AssertionError: assert b'hello' == b'other'",
            "*ConnectionResetError*",
            "*During handling of the above exception, another exception occurred:*",
            "*LookupError: the cause",
            "*it ended*",
        ]
    )
    assert "several proxies have failed" in output_of(result)
    assert "interpose/testing" not in output_of(result), "no line of ours stands in a traceback"


def test_what_was_not_as_expected_fails_the_test(run: Run) -> None:
    result = run("""
def test_few(tcp_proxy):
    p = tcp_proxy(UPSTREAM)
    p.expect.connections(2)
    p.expect.bytes_to_upstream(gt=5)
    ask(p)

def test_enough(tcp_proxy):
    p = tcp_proxy(UPSTREAM)
    p.expect.connections(1)
    p.expect.bytes_to_upstream(ge=5)
    ask(p)

def test_skipped(tcp_proxy):
    tcp_proxy(UPSTREAM).expect.connections(1)
    pytest.skip("later")
""")
    result.assert_outcomes(failed=1, passed=1, skipped=1)
    line = "expect: connections is 1, not exactly 2; bytes_to_upstream is 5, not more than 5"
    result.stdout.fnmatch_lines([f"E*ExpectationError: {line}"])


def test_proxies_of_a_module_and_of_a_session_are_reset_between_tests(run: Run) -> None:
    result = run("""
@pytest.fixture(scope="module")
def shared(tcp_proxy_module):
    return tcp_proxy_module(UPSTREAM)

@pytest.fixture(scope="session")
def wide(tcp_proxy_session):
    return tcp_proxy_session(UPSTREAM)

@pytest.mark.parametrize("number", range(3))
def test_it(shared, wide, number):
    assert not shared.connections and not wide.connections
    shared.expect.connections(1)
    ask(shared), ask(wide)
    assert shared.transcript.to_upstream() == wide.transcript.to_upstream() == b"hello"
    shared.on_client_recv = lambda side, data: b"changed"
    ports.add((shared.port, wide.port))

def test_one_set():
    assert len(ports) == 1

ports = set()
""")
    result.assert_outcomes(passed=4)


def test_a_test_that_fails_leaves_the_next_nothing(run: Run) -> None:
    result = run("""
def test_bad(tcp_proxy_module):
    tcp_proxy_module(UPSTREAM, on_close=lambda conn: 1 / 0).expect.connections(7)
    ask(tcp_proxy_module.proxies[0])
    tcp_proxy_module.proxies[0].wait_closed()

def test_good(tcp_proxy_module):
    assert tcp_proxy_module.proxies
""")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["E*ZeroDivisionError*"])


def test_it_says_what_it_has(run: Run) -> None:
    result = run("", "--fixtures", "-v")
    text = output_of(result)
    for name in ("tcp_proxy", "tcp_proxy_module", "tcp_proxy_session"):
        assert re.search(rf"^{name}\b.* -- .*pytest_plugin", text, re.MULTILINE), text
    assert "Make TCP proxies for this test, each on a free port." in text
    helped = output_of(run("", "--help"))
    assert "TCP proxies (interpose):" in helped
    assert "--tcp-trace={fail,always,never}" in helped
    assert "--interpose-seed=N" in helped
    assert "@pytest.mark.tcp_fault(*faults): give each proxy" in output_of(run("", "--markers"))


def test_open_pools_hold_up_nobody(run: Run) -> None:
    result = run("""
held = []

@pytest.mark.parametrize("number", range(20))
def test_it(tcp_proxy, number):
    p = tcp_proxy(UPSTREAM)
    pool = [socket.create_connection(p.address) for _ in range(10)]
    held.extend(pool)
    for client in pool:
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"

def test_they_were_ended_in_order():
    assert len(held) == 200
    for client in held:
        assert client.recv(1) == b""
        client.close()
""")
    result.assert_outcomes(passed=21)


def test_many_workers_at_once(run: Run) -> None:
    result = run(
        """
@pytest.mark.parametrize("number", range(60))
def test_it(tcp_proxy, number):
    p = tcp_proxy(UPSTREAM)
    p.expect.connections(1)
    assert ask(p, b"%d" % number) == b"%d" % number
    p.wait_closed()
""",
        "-n2",
        "-q",
        apart=True,
    )
    result.assert_outcomes(passed=60)
