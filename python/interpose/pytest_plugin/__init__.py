"""The plugin for pytest: the fixtures `tcp_proxy`, `tcp_replay` and `tcp_certificates`.

It is there wherever the package is installed. Only pytest loads this module, and it imports nothing of the
package before a test asks for a proxy.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..replay import ReplayFactory
    from ..testing import Certificates, ProxyFactory
    from ._desk import Desk

_DESK: pytest.StashKey[Desk] = pytest.StashKey()
_SEED: pytest.StashKey[int] = pytest.StashKey()
_WORKERS_SEED = "interpose_seed"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the plugin."""
    group = parser.getgroup("interpose", "TCP proxies (interpose)")
    group.addoption(
        "--tcp-trace",
        choices=("fail", "always", "never"),
        default="fail",
        help="tests of which what passed is written, as packets (pcapng) and as a picture (SVG); default: fail",
    )
    group.addoption(
        "--tcp-trace-dir",
        metavar="DIR",
        default=None,
        help="where to; default: a directory beside those of tmp_path",
    )
    group.addoption(
        "--interpose-seed",
        metavar="N",
        type=int,
        default=None,
        help="the seed of what faults draw, as a test that has failed shows it; default: another one for each run",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and choose the seed of the run."""
    config.addinivalue_line(
        "markers",
        "tcp_fault(*faults): give each proxy that tcp_proxy makes for the test these faults, such as "
        "interpose.faults.Latency(0.2); each test has its own, which have not struck",
    )
    seed = config.getoption("--interpose-seed")
    if seed is None:
        # A worker of pytest-xdist has that of its controller. One that a person has to type again is short.
        seed = getattr(config, "workerinput", {}).get(_WORKERS_SEED, int.from_bytes(os.urandom(4), "big"))
    if not 0 <= seed < 2**64:
        raise pytest.UsageError(
            f"--interpose-seed: {seed} is not between 0 and 2**64 - 1; give one that a run has shown"
        )
    config.stash[_SEED] = seed


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give a worker of pytest-xdist the seed of the run."""
    node.workerinput[_WORKERS_SEED] = node.config.stash[_SEED]


@pytest.fixture
def tcp_proxy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyFactory]:
    """Make TCP proxies for this test, each on a free port.

    With `p = tcp_proxy("localhost:5432")`, the client is to connect to `p.address`, `p.host` and `p.port`, or `str(p)`.
    `p.add(Latency(0.2))` and `with p.fault(Cut(after_bytes=100)):` have faults of `interpose.faults` strike.
    `p.wait_for(b"COMMIT")`, `p.wait_for_connections(2)` and `p.wait_closed()` wait; `async def` tests write
    `await p.aio.wait_for(b"COMMIT")`. `p.pause()`, `p.refuse()`, `p.drop_all()` and `p.reset_all()` make trouble.
    `p.connections` and `p.transcript` are what has passed; `p.expect.connections(2)` is checked at the end. Hooks and
    settings are those of TheServer, and an exception in a callback fails the test.
    """
    yield from _made(request, tmp_path_factory)


@pytest.fixture(scope="module")
def tcp_proxy_module(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProxyFactory]:
    """Make TCP proxies that serve all tests of the module. Between two tests they are reset: `p.reset()`."""
    yield from _made(request, tmp_path_factory)


@pytest.fixture(scope="session")
def tcp_proxy_session(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProxyFactory]:
    """Make TCP proxies that serve all tests of the session. Between two tests they are reset: `p.reset()`."""
    yield from _made(request, tmp_path_factory)


@pytest.fixture
def tcp_replay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplayFactory]:
    r"""Play recorded servers to the client of this test, each on a free port.

    `r = tcp_replay("session.jsonl")` plays what `p.record("session.jsonl")` or `interpose record` has recorded: the
    client is to connect to `r.address`, `r.host` and `r.port`, or `str(r)`. `mask=[rb"id=\d+"]` is for what differs
    from one time to the next, `match="bytes"` for connections in another order, `timing="recorded"` for the pauses of
    the record. The test fails where the client sends something else, and where it does not send all:
    `r.expect_all(False)` allows that.
    """
    with _desk_of(request, tmp_path_factory).replays() as factory:
        yield factory


@pytest.fixture(scope="session")
def tcp_certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Make certificates for the tests of this session, of an issuer that is made for them.

    `cert, key = tcp_certificates.pair("db.example")` are files for `Tls(cert, key)`, and `tcp_certificates.ca` is the
    one that clients trust. `ends=` with a time that is past makes one that has expired.
    """
    from ..testing import Certificates

    return Certificates(tmp_path_factory.mktemp("certificates"))


def _desk_of(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    from ._desk import Desk

    stash = request.config.stash
    return stash.setdefault(_DESK, Desk(request.config, tmp_path_factory, stash[_SEED]))


def _made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyFactory]:
    desk = _desk_of(request, tmp_path_factory)
    with desk.factory(request.node, is_shared=request.scope != "function") as factory:
        yield factory


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail the test for what callbacks have raised, and for what was not as expected."""
    __tracebackhide__ = True
    if (desk := item.config.stash.get(_DESK, None)) is not None:
        desk.begin(item)
    try:
        result = yield
    except (pytest.skip.Exception, pytest.xfail.Exception, pytest.exit.Exception, KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        # What a callback has raised is the cause, and comes with this.
        _check(item.config, has_failed=True)
        raise
    _check(item.config, has_failed=False)
    return result


def _check(config: pytest.Config, *, has_failed: bool) -> None:
    __tracebackhide__ = True
    if (desk := config.stash.get(_DESK, None)) is not None:
        desk.check(has_failed=has_failed)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a test that has failed what passed through its proxies."""
    report = yield
    if (desk := item.config.stash.get(_DESK, None)) is not None:
        desk.report(item, report)
    return report


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Reset the proxies that serve the tests to come."""
    if (desk := item.config.stash.get(_DESK, None)) is not None:
        desk.reset()
