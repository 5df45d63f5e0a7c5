"""The command `interpose`."""

from __future__ import annotations

import os
import sys

# Nothing that costs time is imported up here: --help must not wait for it. Type checkers take this as True.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from ._server import TheServer

OK, FAILED, USAGE, CANNOT_BIND = 0, 1, 2, 4

HELP = """\
usage: interpose LISTEN TARGET [options]
       interpose demo

Forward every client of LISTEN to TARGET: every byte, both ways.
"interpose demo" shows one request through a proxy, on this machine only.

addresses:
  9090                         port 9090 of this machine only (127.0.0.1)
  host:9090                    a name or an IPv4 address; 0.0.0.0:9090 is every interface
  [::1]:9090                   an IPv6 address
  unix:/path                   a Unix socket; unix:@name is an abstract one (Linux)

time limits, in seconds ("none" is no limit where that is possible):
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

Ctrl-C or SIGTERM lets connections finish, a second one stops at once.
Exit codes: 0 stopped as asked, 1 failed while running, 2 wrong usage, 4 cannot listen.\
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command with `argv` (None: the process's own) and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    try:
        return _run(words)
    except KeyboardInterrupt:
        return OK
    except Exception as error:  # noqa: BLE001 (what is not ours is raised again)
        code = _exit_code(error)
        complain(str(error))
        return code
    finally:
        _flush()


def say(text: str) -> None:
    """Print a line at once. A reader that has gone is not an error of ours."""
    _write(sys.stdout, text)


def complain(text: str) -> None:
    """Print one line, inert, on stderr."""
    from ._exceptions import printable

    _write(sys.stderr, printable(f"interpose: {text}"))


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:
        return
    # A terminal that cannot show a character gets an escape, not a traceback.
    encoding = stream.encoding or "ascii"
    try:
        # One write for the line and its end: an unbuffered print makes two, and a signal's notice can come between.
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()
    except (OSError, ValueError):
        pass


def _flush() -> None:
    # The interpreter flushes once more at exit and would turn a reader that has gone into exit code 120.
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _run(words: list[str]) -> int:
    if "-h" in words or "--help" in words:
        say(HELP)
        return OK
    if "--version" in words:
        from importlib.metadata import version

        say(f"interpose {version('interpose')}")
        return OK
    if words == ["demo"]:
        from ._demo import run

        return run()
    return _serve(words)


def _exit_code(error: Exception) -> int:
    """Return the exit code for an error of ours; any other is a defect and goes on as a traceback."""
    from ._exceptions import AddressError, ArgumentTypeError, BindError, ConfigError, InterposeError, ResolveError

    if isinstance(error, BindError | ResolveError):
        return CANNOT_BIND
    if isinstance(error, AddressError | ArgumentTypeError | ConfigError):
        return USAGE
    if isinstance(error, InterposeError):
        return FAILED
    raise error


def _serve(words: list[str]) -> int:
    from ._exceptions import ServerStoppedError
    from ._forward import address_text
    from ._options import parse

    options = parse(words)
    _log_to_stderr(verbose=options.verbose, quiet=options.quiet)
    _raise_descriptor_limit()
    server = options.bind().start()
    # The handlers are there before the first line is, so whoever waits for the line may send a signal.
    stop = _Stop(server, options.drain, quiet=options.quiet)
    stop.handle_signals()
    if not options.quiet:
        target = address_text(options.forward.address)
        say(f"interpose: listening on {address_text(server.address)}, forwarding to {target}")
    try:
        server.main_loop()
    except ServerStoppedError:
        # A signal can come before the loop does; what it began must end.
        stop.join()
    if stop.asked == 0:
        complain("listener: it ended by itself; see the messages above, then start again")
        return FAILED
    return OK


class _Stop:
    """The signal handler: the first signal drains, the next one stops at once."""

    def __init__(self, server: TheServer, drain: float, *, quiet: bool) -> None:
        import queue

        from ._logging import start_thread

        self.asked = 0
        self._server = server
        self._drain = drain
        self._quiet = quiet
        # A handler must not wait for a drain: a second signal that came together with the first would wait too.
        self._begin: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._drainer = start_thread("interpose-drain", self._drain_when_told)

    def handle_signals(self) -> None:
        import signal

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self)

    def join(self) -> None:
        """Wait for the drain that a signal began."""
        if self.asked:
            self._drainer.join()

    def __call__(self, *_: object) -> None:
        self.asked += 1
        if self.asked > 1:
            self._tell("stopping at once")
            self._server.stop(0.0)
            return
        active = self._server.stats.active
        connections = "1 connection" if active == 1 else f"{active} connections"
        if active and self._drain:
            self._tell(f"draining: {connections} left, for {self._drain:g} s at most; signal again to stop at once")
        else:
            self._tell(f"stopping: {connections} left")
        self._begin.put(None)

    def _drain_when_told(self) -> None:
        self._begin.get()
        self._server.stop(self._drain)

    def _tell(self, text: str) -> None:
        if self._quiet:
            return
        # A handler may interrupt a print of its own kind, and a buffered stream does not stand that.
        try:
            os.write(2, f"interpose: {text}\n".encode())
        except OSError:
            pass


def _log_to_stderr(*, verbose: bool, quiet: bool) -> None:
    import logging

    logger = logging.getLogger("interpose")
    logger.setLevel(logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("interpose: %(message)s"))
    logger.addHandler(handler)
    # A terminal that has gone away must not fill up with tracebacks about itself.
    logging.raiseExceptions = False


def _raise_descriptor_limit() -> None:
    """Allow as many descriptors as the system lets this process have. A command may; a library must not."""
    if sys.platform == "win32":
        return
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        pass  # macOS reports no limit and then accepts only what its kernel can do; the default stays
