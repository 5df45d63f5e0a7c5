"""The command `interpose`."""

from __future__ import annotations

import os
import sys

# Nothing that costs time is imported up here: --help must not wait for it. Type checkers take this as True.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from signal import Signals
    from typing import TextIO

    from ._output import Output, Outputs
    from ._server import TheServer

OK, FAILED, USAGE, CANNOT_BIND = 0, 1, 2, 4

# How long the first line may take before the command goes on without it.
_FIRST_LINE_SECONDS = 0.25
_ECHO_DRAIN_SECONDS = 1.0

# Set while the command serves: then words go through a queue, because nothing may hold up its end.
_outputs: Outputs | None = None

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
        _flush()


def say(text: str) -> None:
    """Print a line. A reader that has gone is not an error of ours."""
    if _outputs is None:
        _write(sys.stdout, text)
    elif _outputs.out:
        _outputs.out.put(text)


def complain(text: str) -> None:
    """Print one line, inert, on stderr."""
    from ._exceptions import printable

    line = printable(f"interpose: {text}")
    if _outputs is None:
        _write(sys.stderr, line)
    elif _outputs.err:
        _outputs.err.put(line)


def take_output() -> Outputs:
    """From here on no word waits for its reader: see _output."""
    global _outputs
    from ._output import Outputs, keep_standard_descriptors

    keep_standard_descriptors()
    _outputs = Outputs()
    return _outputs


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:
        return
    # A terminal that cannot show a character gets an escape, not a traceback.
    encoding = stream.encoding or "ascii"
    line = text.encode(encoding, "backslashreplace") + b"\n"
    try:
        try:
            descriptor = stream.fileno()
        except ValueError:  # in memory: a Python program calls the command
            stream.write(line.decode(encoding))
            return
        # Not through the stream: after Ctrl-C its buffer would have to wait for the reader that was too slow.
        stream.flush()
        while line:
            line = line[os.write(descriptor, line) :]
    except (OSError, ValueError):
        pass


def _flush() -> None:
    global _outputs
    if _outputs is not None:
        _outputs.finish()
        _outputs = None
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
        from ._native import version

        say(f"interpose {version}")
        return OK
    if words == ["demo"]:
        from ._demo import run

        take_output()
        return run()
    if words[:1] == ["echo"]:
        return _echo(words[1:])
    return _forward(words)


def _failed(error: Exception) -> int:
    """Say what went wrong and return the exit code. An error that is not ours is a defect: it gets its traceback."""
    from ._exceptions import AddressError, ArgumentTypeError, BindError, ConfigError, InterposeError, ResolveError

    code = FAILED
    if isinstance(error, BindError | ResolveError):
        code = CANNOT_BIND
    elif isinstance(error, AddressError | ArgumentTypeError | ConfigError):
        code = USAGE
    elif not isinstance(error, InterposeError):
        if _outputs is None:
            raise error
        import traceback

        if _outputs.err:
            _outputs.err.put("".join(traceback.format_exception(error)).rstrip())
        return code
    complain(str(error))
    return code


def _forward(words: list[str]) -> int:
    from ._forward import address_text
    from ._options import parse

    options = parse(words)
    what = f"forwarding to {address_text(options.forward.address)}"
    return _serve(options.bind, what, options.drain, verbose=options.verbose, quiet=options.quiet)


def _echo(words: list[str]) -> int:
    from ._echo import EchoServer
    from ._options import parse_echo

    listen = parse_echo(words)
    return _serve(lambda: EchoServer(listen), "sending back what comes", _ECHO_DRAIN_SECONDS)


def _serve(
    bind: Callable[[], TheServer], what: str, drain: float, *, verbose: bool = False, quiet: bool = False
) -> int:
    """Serve until a signal ends it, and return the exit code."""
    from ._exceptions import ServerStoppedError
    from ._forward import address_text

    outputs = take_output()
    _log_to(outputs.err, verbose=verbose, quiet=quiet)
    _raise_descriptor_limit()
    server = bind()
    # The handlers are there before a client is served, or the first line is, so a signal may follow either.
    stop = _Stop(server, drain, quiet=quiet)
    stop.handle_signals()
    try:
        server.start()
        if not quiet:
            say(f"interpose: listening on {address_text(server.address)}, {what}")
            # Before any word on stderr, where both lead to the same place. Clients are served meanwhile.
            outputs.flush(_FIRST_LINE_SECONDS)
        server.main_loop()
    except ServerStoppedError:
        pass  # a signal can come before the loop does
    # A stop that a signal began must complete; after main_loop() it has.
    server.stop(drain)
    if stop.asked == 0:
        complain("listener: it ended by itself; see the messages above, then start again")
        return FAILED
    return OK


class _Stop:
    """Acts on signals: the first that asks for an end drains, the next one stops at once, others ask how it is."""

    def __init__(self, server: TheServer, drain: float, *, quiet: bool) -> None:
        self.asked = 0
        self._server = server
        self._drain = drain
        self._quiet = quiet

    def handle_signals(self) -> None:
        """Take the signals, until the process ends."""
        import signal

        from ._signals import SignalThread, stop_signals

        self._ending = stop_signals()
        asking = [] if sys.platform == "win32" else [signal.SIGUSR1, signal.SIGUSR2]
        SignalThread([*self._ending, *asking], self._act).begin()

    def _act(self, number: Signals) -> None:
        stats = self._server.stats
        connections = "1 connection" if stats.active == 1 else f"{stats.active} connections"
        if number not in self._ending:
            self._tell(f"{number.name}: {connections} now, {stats.accepted} since the start")
            return
        self.asked += 1
        if self.asked > 1:
            self._tell("stopping at once")
        elif stats.active and self._drain:
            self._tell(f"draining: {connections} left, for {self._drain:g} s at most; signal again to stop at once")
        else:
            self._tell(f"stopping: {connections} left")
        # Only begins it: the next signal must find this thread free.
        self._server._native.stop(self._drain if self.asked == 1 else 0.0)  # pyright: ignore[reportPrivateUsage]

    def _tell(self, text: str) -> None:
        if not self._quiet:
            complain(text)


def _log_to(output: Output | None, *, verbose: bool, quiet: bool) -> None:
    import logging

    from ._output import LogHandler

    logger = logging.getLogger("interpose")
    logger.setLevel(logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING)
    logger.addHandler(LogHandler(output) if output else logging.NullHandler())
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
