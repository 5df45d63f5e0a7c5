"""`interpose demo`: one request through a proxy, told as it was."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from interpose._cli import demo
from support.scripts import command, passes


def test_the_demo_tells_what_flowed(tmp_path: Path) -> None:
    ended = command(tmp_path, "demo")
    assert (ended.code, ended.err) == (0, ""), ended
    facts = dict(re.findall(r"^(\w+)  +(\S.*)$", ended.out, re.MULTILINE))
    listening = re.fullmatch(r"listening on (127\.0\.0\.1:\d+), forwarding to (127\.0\.0\.1:\d+)", facts["interpose"])
    assert listening is not None, ended.out
    near, far = listening.groups()
    assert facts["upstream"].startswith(far)
    assert f"-> {near} = " in facts["client"]
    assert facts["client"].endswith(f"-> {far}")
    assert facts["request"] == "GET /hello HTTP/1.1"
    assert facts["response"].startswith("200 OK: ")
    sent, got = map(int, re.findall(r"\d+", facts["bytes"]))
    assert sent > 20
    assert got > 100
    assert facts["end"] == "finished"
    assert "interpose 9090 example.org:80" in ended.out


def test_the_demo_takes_less_than_two_seconds(tmp_path: Path) -> None:
    # The best of three: the machine may be busy with other tests.
    assert min(command(tmp_path, "demo").seconds for _ in range(3)) < 2.0


def test_the_demo_says_why_it_cannot(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(demo, "_Upstream", fail)
    assert demo.show() == 1
    said = capsys.readouterr().err
    assert said.startswith("interpose: demo: ")
    assert said.count("\n") == 1
    assert "Too many open files" in said


def test_the_demo_asks_no_proxy_and_no_resolver(tmp_path: Path) -> None:
    text = """
        import os, socket
        os.environ["http_proxy"] = os.environ["HTTP_PROXY"] = "http://127.0.0.1:1"
        def never(*_):
            raise AssertionError("asked the resolver")
        socket.getfqdn = socket.gethostbyaddr = socket.gethostbyname = never
        from interpose._cli import main
        raise SystemExit(main(["demo"]))
    """
    assert "finished" in passes(tmp_path, text)


def test_the_demo_leaves_nothing_behind(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.show() == 0
    assert demo.show() == 0
    assert capsys.readouterr().out.count("finished") == 2
