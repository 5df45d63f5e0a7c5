"""Faults by marks, and the seed of a run."""

from __future__ import annotations

import re

import pytest
from support.pytest_runs import Run, output_of

FAULTS = """
from interpose import faults

pytestmark = pytest.mark.tcp_fault(faults.Latency(0.001))

@pytest.mark.tcp_fault(faults.Reset(on_match=b"hello", times=1))
@pytest.mark.parametrize("number", range(3))
def test_each_has_its_own(tcp_proxy, number):
    p = tcp_proxy(UPSTREAM)
    assert [type(one).__name__ for one in p.faults] == ["Latency", "Reset"]
    with pytest.raises(ConnectionResetError):
        ask(p)
    assert ask(p) == b"hello"

def test_others_have_none_of_it(tcp_proxy):
    own = faults.Stall(times=1)
    p = tcp_proxy(UPSTREAM, faults=[own])
    assert len(p.faults) == 2 and p.faults[1] is own

def test_seeds(tcp_proxy):
    one, two, given = tcp_proxy(UPSTREAM), tcp_proxy(UPSTREAM), tcp_proxy(UPSTREAM, seed=5)
    assert one.seed != two.seed and given.seed == 5
    print("seeds", one.seed, two.seed)
    with one.fault(faults.Cut(after_bytes=2, direction="to_client")):
        assert ask(one) == b"he"
    assert False
"""


def test_marks_have_faults_in_force(run: Run) -> None:
    result = run(FAULTS, "--interpose-seed=7", "--strict-markers")
    result.assert_outcomes(passed=4, failed=1)
    text = output_of(result)
    assert re.search(r"\|  +\* +\|  Cut\(.*\) strikes to_client$", text, re.MULTILINE)
    assert "faults draw the same again with --interpose-seed=7" in text
    seeds = re.findall(r"^seeds (.*)", text, re.MULTILINE)
    again = output_of(run(FAULTS, "--interpose-seed=7", "-k", "test_seeds"))
    assert re.findall(r"^seeds (.*)", again, re.MULTILINE) == seeds
    other = output_of(run(FAULTS, "-k", "test_seeds"))
    assert re.findall(r"^seeds (.*)", other, re.MULTILINE) != seeds
    assert re.search(r"with --interpose-seed=\d+$", other, re.MULTILINE)


SHARED = """
from interpose import faults

@pytest.fixture(scope="module")
def shared(tcp_proxy_module):
    return tcp_proxy_module(UPSTREAM, faults=[faults.Reset(nth=2, direction="to_upstream")])

@pytest.mark.tcp_fault(faults.Cut(after_bytes=2, direction="to_client"))
def test_marked(shared):
    assert [type(one).__name__ for one in shared.faults] == ["Reset", "Cut"]
    assert ask(shared) == b"he"

@pytest.mark.tcp_fault(faults.Cut(after_bytes=3, direction="to_client"))
def test_made_within(tcp_proxy_module):
    p = tcp_proxy_module(UPSTREAM)
    assert ask(p) == b"hel"
    p.reset()
    assert p.faults == ()

@pytest.mark.parametrize("number", range(2))
def test_not_marked(shared, number):
    assert ask(shared) == b"hello"
    with pytest.raises(ConnectionResetError):
        ask(shared)
    assert shared.faults[0].strikes == 1
"""


DRAWING = """
from interpose import faults

@pytest.fixture(scope="module")
def shared(tcp_proxy_module):
    return tcp_proxy_module(UPSTREAM)

@pytest.mark.parametrize("name", ["one", "two", "three"])
def test_draws(shared, name):
    with shared.fault(faults.Corrupt(on_match=b"hello", direction="to_client")):
        print("drawn", name, [ask(shared) for _ in range(4)])
    assert False
"""


def test_a_test_with_a_shared_proxy_draws_alone_what_it_draws_in_company(run: Run) -> None:
    def drawn(*options: str) -> dict[str, str]:
        text = output_of(run(DRAWING, "--interpose-seed=7", *options))
        return dict(re.findall(r"^drawn (\w+) (.*)", text, re.MULTILINE))

    together = drawn()
    assert len(together) == 3
    assert together == {name: drawn("-k", f"test_draws and {name}")[name] for name in together}


OUTCOMES = """
from interpose import faults

def test_expected_failure(tcp_proxy):
    tcp_proxy(UPSTREAM).expect.connections(5)
    pytest.xfail("known")

def test_own_failure(tcp_proxy):
    tcp_proxy(UPSTREAM).expect.connections(5)
    assert 1 == 2

@pytest.mark.tcp_fault(fault=faults.Stall())
def test_slip(tcp_proxy):
    tcp_proxy(UPSTREAM)

def test_stopped(tcp_proxy_module):
    tcp_proxy_module(UPSTREAM).stop()

def test_after(tcp_proxy_module):
    assert ask(tcp_proxy_module(UPSTREAM)) == b"hello"
"""


def test_a_test_keeps_its_own_outcome(run: Run) -> None:
    result = run(OUTCOMES, "--tcp-trace-dir=/dev/null/x")
    result.assert_outcomes(passed=2, xfailed=1, failed=2)
    text = output_of(result)
    assert "assert 1 == 2" in text
    assert "ExpectationError" not in text
    assert "tcp_fault: there is no fault; give the faults themselves" in text
    assert "INTERNALERROR" not in text


def test_shared_proxies_have_faults_for_a_test_and_count_anew(run: Run) -> None:
    run(SHARED).assert_outcomes(passed=4)


@pytest.mark.parametrize(
    ("mark", "answer"),
    [
        ("tcp_fault(0.2)", "tcp_fault: it is float, not a fault; write tcp_fault(faults.Latency(0.2))"),
        ("tcp_fault('latencyy')", "tcp_fault: it is str, not a fault; write tcp_fault(faults.Latency(...))"),
        ("tcp_fault('stall after=3')", "tcp_fault: it is str, not a fault; write tcp_fault(faults.Stall(...))"),
        ("tcp_fault([faults.Stall()])", "tcp_fault: it is list, not a fault; write tcp_fault(*[...])"),
        ("tcp_fault(faults.Stall(), faults.Reset)", "tcp_fault: Reset is the class; write faults.Reset(...)"),
        ("tcp_fault(ONE, ONE)", "tcp_fault: faults.Drop() is there twice; make another one with again()"),
        (
            "tcp_fault(delay=1)",
            "tcp_fault: there is no delay; give the faults themselves: tcp_fault(faults.Latency(0.2))",
        ),
    ],
)
def test_marks_that_are_wrong_are_answered_in_one_line(run: Run, mark: str, answer: str) -> None:
    tests = f"""
from interpose import faults

ONE = faults.Drop()

@pytest.mark.{mark}
@pytest.mark.parametrize("fixture", ["tcp_proxy", "tcp_proxy_module"])
def test_it(request, tcp_proxy, tcp_proxy_module, fixture):
    request.getfixturevalue(fixture)(UPSTREAM)
"""
    result = run(tests)
    result.assert_outcomes(failed=2)
    assert output_of(result).count(f"Error: {answer}\n") == 2


def test_a_seed_that_is_none_is_answered(run: Run) -> None:
    result = run("", "--interpose-seed=-1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--interpose-seed: -1 is not between 0 and 2**64 - 1" in "\n".join(result.errlines)


def test_workers_have_the_seed_of_the_run(run: Run) -> None:
    tests = """
@pytest.mark.parametrize("number", range(4))
def test_it(request, number):
    from interpose.pytest_plugin import _SEED
    print("seed", request.config.stash[_SEED])
    assert False
"""
    result = run(tests, "-n2", apart=True)
    result.assert_outcomes(failed=4)
    assert len(set(re.findall(r"^seed (\d+)$", output_of(result), re.MULTILINE))) == 1
