"""What reads the pages sees when a page is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import doc_screens, doc_terminal
from support.doc_blocks import is_shown
from support.doc_page import programs_of, run_page

WRONG = [
    ("console", "$ echo hello\ngoodbye\n", "the page shows"),
    ("console", "$ echo hello\n$ exit 3\n", "ended with 3"),
    ("console", "$ interpose echo 7070\ninterpose: something else\n", "the page shows"),
    ("console", "$ interpose echo 7070\n$ echo hello\n", "nothing can be typed behind it"),
    ("python", "raise SystemExit(3)\n", "ended with 3"),
    ('python title="spy.py"', "print()\n", "no command of the page uses spy.py"),
    ("yaml", "a: 1\n", "nothing runs a block of yaml"),
]


@pytest.mark.parametrize(("language", "text", "fault"), WRONG)
def test_a_page_that_is_wrong_fails(
    language: str, text: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doc_terminal, "PATIENCE", 0.5)
    page = tmp_path / "page.md"
    page.write_text(f"# Wrong\n\n```{language}\n{text}```\n")
    with pytest.raises(AssertionError, match=fault):
        run_page(page)


RIGHT = """# Right

```console
$ interpose echo 7070
interpose: listening on 127.0.0.1:7070, sending back what comes
```

```toml title="named.toml"
a = 1
```

```console
$ cat named.toml
a = 1
$ printf 'hello\\n' | cat
hello
```

```python
import socket

with socket.create_connection(("127.0.0.1", 7070)) as client:
    client.sendall(b"hello")
    assert client.recv(5) == b"hello"
```
"""


def test_a_page_runs_in_its_order_with_its_files_and_servers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(RIGHT)
    assert programs_of(page) == {"cat"}
    run_page(page)


def test_a_pattern_uses_the_files_that_it_fits(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    files = "".join(f'```toml title="{name}.py"\n{name[-1]} = 1\n```\n' for name in ("one_a", "one_b"))
    page.write_text(f"# Right\n\n{files}```console\n$ cat one_*.py\na = 1\nb = 1\n```\n")
    run_page(page)
    page.write_text(page.read_text().replace("cat one_*.py", "cat on_*.py"))
    with pytest.raises(AssertionError, match="no command of the page uses one_a"):
        run_page(page)


def test_a_page_has_pictures_of_its_terminals(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{RIGHT}\n```console\n$ printf '\\033[31m%s & all\\n' red\n```\n\n![It](screens/red.svg)\n")
    ((path, picture),) = run_page(page).items()
    assert path == tmp_path / "screens/red.svg"
    assert 'fill="#f2777a">red &amp; all<' in picture
    assert "printf" in picture
    assert "50314 at 12:00:00.000 of 2026-11-27<" in doc_screens.picture("x", "41002 at 23:59:58.123 of 2027-01-02\n")


@pytest.mark.parametrize(
    ("shown", "said", "whole", "same"),
    [
        (("a", "b"), "a\nb\n", True, True),
        (("a", "b"), "a\nb\nc\n", True, False),
        (("a", "b"), "a\nb\nc\n", False, True),
        (("a", "...", "d"), "a\nb\nc\nd\n", True, True),
        (("a...z",), "abcz\n", True, True),
        (("<client 127.0.0.1:50314> b'a'",), "<client 127.0.0.1:41002> b'a'\n", True, True),
        (("<client 127.0.0.1:50314> b'a'",), "<client 127.0.0.2:41002> b'a'\n", True, False),
        (("at 12:00:00.123 on 2026-01-31",), "at 23:59:59.999 on 2027-12-01\n", True, True),
        (("port 7070",), "port 7071\n", True, False),
        (("red",), "\x1b[31mred\x1b[0m\r\n", True, True),
    ],
)
def test_what_a_page_shows(shown: tuple[str, ...], said: str, whole: bool, same: bool) -> None:
    assert is_shown(shown, said, whole=whole) == same
