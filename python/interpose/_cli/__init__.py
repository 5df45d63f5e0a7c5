"""The command `interpose`."""

from __future__ import annotations

import sys

# Nothing that costs time is imported up here: --help must not wait for it.
from .console import CANNOT_BIND, FAILED, OK, USAGE, complain, finish, say, show_traceback, take_output

_ECHO_DRAIN_SECONDS = 1.0

HELP = """\
usage: interpose LISTEN TARGET [options]
       interpose echo [LISTEN]
       interpose demo

Forward every client of LISTEN to TARGET: every byte, both ways.
"interpose echo" is an upstream to try that with: it sends back what it gets (LISTEN: 7070).
"interpose demo" shows one request through a proxy, on this machine only.

addresses:
  9090                         port 9090 of this machine only (127.0.0.1)
  host:9090                    a name or an IPv4 address; 0.0.0.0:9090 is every interface
  [::1]:9090                   an IPv6 address
  unix:/path                   a Unix socket; unix:@name is an abstract one (Linux)

time limits, in seconds, or 200ms, 10s, 5m, 1h30m ("none" is no limit, where that is possible):
  --drain SECONDS              how long connections may finish after Ctrl-C (default 30)
  --connect-timeout SECONDS    how long connecting to TARGET may take (default 10)
  --half-close-timeout SECONDS how long nothing may move once one side has ended (default 120)
  --idle-timeout SECONDS       how long nothing may move either way (default none)

options:
  --max-connections N          connections at once (default: by the descriptors, at most 10000)
  --source IP                  the local address to connect from
  --backlog N                  clients that the kernel may queue (default 1024)
  --reuse-port                 let other processes listen on the same port too
  --no-splice                  copy every byte, also of directions that stream
  --no-coalesce                never wait (4 ms at most) for more bytes of directions that stream
  --public                     say that listening for every machine is meant
  -v, --verbose                show each connection's opening and end
  -q, --quiet                  show errors only
  --version                    show the version
  -h, --help                   show this

Ctrl-C, SIGTERM or SIGHUP lets connections finish, a second one stops at once.
Exit codes: 0 stopped as asked, 1 failed while running, 2 wrong usage, 4 cannot listen.\
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command with `argv` (None: the process's own) and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    try:
        return _run(words)
    except KeyboardInterrupt:
        return OK
    except Exception as error:  # noqa: BLE001 (what is not ours is raised again, or shown whole)
        return _failed(error)
    finally:
        finish()


def _run(words: list[str]) -> int:
    if "-h" in words or "--help" in words:
        say(HELP)
        return OK
    if "--version" in words:
        from .._native import version

        say(f"interpose {version}")
        return OK
    if words == ["demo"]:
        from .demo import run

        take_output()
        return run()
    if words[:1] == ["echo"]:
        return _echo(words[1:])
    return _forward(words)


def _failed(error: Exception) -> int:
    """Say what went wrong and return the exit code. An error that is not ours is a defect: it gets its traceback."""
    from .._exceptions import AddressError, ArgumentTypeError, BindError, ConfigError, InterposeError, ResolveError

    code = FAILED
    if isinstance(error, BindError | ResolveError):
        code = CANNOT_BIND
    elif isinstance(error, AddressError | ArgumentTypeError | ConfigError):
        code = USAGE
    elif not isinstance(error, InterposeError):
        show_traceback(error)
        return code
    complain(str(error))
    return code


def _forward(words: list[str]) -> int:
    from .._addresses import address_text
    from .options import parse
    from .serving import serve

    options = parse(words)
    what = f"forwarding to {address_text(options.forward.address)}"
    return serve(options.bind, what, options.drain, verbose=options.verbose, quiet=options.quiet)


def _echo(words: list[str]) -> int:
    from .echo import EchoServer
    from .options import parse_echo
    from .serving import serve

    listen = parse_echo(words)
    return serve(lambda: EchoServer(listen), "sending back what comes", _ECHO_DRAIN_SECONDS)


__all__ = ["CANNOT_BIND", "FAILED", "HELP", "OK", "USAGE", "main"]
