"""What the plugin of pytest shows and writes of a test that has failed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.peers import Echo
from support.pytest_runs import BEGIN, Run, output_of


def test_a_failing_test_shows_what_has_passed(run: Run, pytester: pytest.Pytester) -> None:
    result = run(
        """
def test_fails(tcp_proxy):
    p = tcp_proxy(UPSTREAM)
    ask(p)
    p.wait_closed()
    assert False

def test_passes(tcp_proxy):
    ask(tcp_proxy(UPSTREAM))
""",
        "--tcp-trace-dir=traces",
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*TCP through <Proxy 127.0.0.1:* -> 127.0.0.1:*, started>*",
            "*ms    #  client *proxy *upstream",
            "*0.000    1  o--- connect ---->|                    client 127.0.0.1:*",
            "*1  |                 |--- connect ---->o  upstream 127.0.0.1:*",
            "*1  |----- 5 B -------+---------------->|  'hello'",
            "*1  |<----- 5 B ------+-----------------|  'hello'",
            "*1  |----- FIN -------+---------------->|",
            "*1  |<----- FIN ------+-----------------|",
            "*1  x                 x                 x  finished",
            "written: traces*test_fails-1.pcapng",
            "written: traces*test_fails-1.svg",
        ]
    )
    written = sorted(path.name for path in (pytester.path / "traces").iterdir())
    name = "test_a_failing_test_shows_what_has_passed.py-test_fails-1"
    assert written == [f"{name}.pcapng", f"{name}.svg"]
    assert (pytester.path / f"traces/{name}.svg").read_text(encoding="utf-8").startswith("<svg ")


@pytest.mark.parametrize(("when", "written"), [("fail", {"bad"}), ("always", {"bad", "good"}), ("never", set[str]())])
def test_traces_are_written_when_they_are_wanted(run: Run, tmp_path: Path, when: str, written: set[str]) -> None:
    folder = tmp_path / "traces"
    result = run(
        """
def test_bad(tcp_proxy):
    ask(tcp_proxy(UPSTREAM))
    assert False

def test_good(tcp_proxy):
    ask(tcp_proxy(UPSTREAM))
""",
        f"--tcp-trace={when}",
        f"--tcp-trace-dir={folder}",
    )
    result.assert_outcomes(failed=1, passed=1)
    paths = folder.glob("*.pcapng") if folder.exists() else ()
    assert {str(path).rpartition("test_")[2].removesuffix("-1.pcapng") for path in paths} == written
    assert ("|----- 5 B -------+" in output_of(result)) is True


def test_a_worker_shows_what_has_passed(run: Run) -> None:
    result = run("def test_it(tcp_proxy):\n    ask(tcp_proxy(UPSTREAM))\n    assert False\n", "-n1", apart=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*1  |----- 5 B -------+---------------->|  'hello'", "written: *.pcapng"])


SAME = """
class TestIt:
    def test_it(self, tcp_proxy):
        ask(tcp_proxy(UPSTREAM))
        assert False

def test_it(tcp_proxy):
    TestIt().test_it(tcp_proxy)
"""
ODD = f"""
@pytest.mark.parametrize("odd", ["a/b", "a b", "../up", "a::b", r"a\\b", "größe", ""])
def test_odd(tcp_proxy, odd):
    TestIt().test_it(tcp_proxy)

def test_{"long" * 60}_a(tcp_proxy):
    TestIt().test_it(tcp_proxy)

def test_{"long" * 60}_b(tcp_proxy):
    TestIt().test_it(tcp_proxy)

def test_{"ö" * 90}(tcp_proxy):
    TestIt().test_it(tcp_proxy)
"""


@pytest.mark.parametrize("options", [(), ("-n2", "--dist=load")], ids=["one process", "workers"])
def test_each_test_has_files_of_its_own(
    run: Run, pytester: pytest.Pytester, tmp_path: Path, echo: Echo, options: tuple[str, ...]
) -> None:
    # Modules of the same name in two folders, and others whose path reads alike.
    for place in ("a/test_same.py", "b/test_same.py", "a/test_b-test_same.py", "a-test_b/test_same.py"):
        file = pytester.path / place
        file.parent.mkdir(exist_ok=True)
        file.write_text(BEGIN.format(address=echo.address) + SAME, encoding="utf-8")
    traces = tmp_path / "traces"
    result = run(SAME + ODD, *options, f"--tcp-trace-dir={traces}", "--import-mode=importlib", apart=bool(options))
    result.assert_outcomes(failed=20)
    written = [line.partition("written: ")[2] for line in result.outlines if line.startswith("written: ")]
    assert "not written" not in output_of(result)
    assert len(set(written)) == len(written) == 40
    assert {Path(path) for path in written} == set(traces.iterdir())
    assert all(path.name.isascii() and len(path.name) <= 130 for path in traces.iterdir())
