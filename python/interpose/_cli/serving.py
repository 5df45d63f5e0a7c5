"""Serving until a signal ends it, after the command line was parsed."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from .._exceptions import ServerStoppedError, printable
from .._groups import CommandSettings
from .._threads import start_thread
from . import service_manager
from .console import FAILED, OK, complain, complain_as, say, take_output
from .log_format import ACCESS, REPORTS, formatter
from .output import LogHandler, Outputs
from .printed import queued
from .reloading import Reloads
from .scripting.watch import ScriptWatch
from .served import Served
from .signals import Signals, counts_text

# How long the first line may take before the command goes on without it.
_FIRST_LINE_SECONDS = 0.25

# How long the end waits for scripts to unload.
_UNLOAD_SECONDS = 2.0

_logger = logging.getLogger("interpose.command")


def serve(served: Served, command: CommandSettings, reload: Callable[[], None] | None = None) -> int:
    """Serve until a signal ends it, and return the exit code. With `reload`, SIGHUP calls that in a thread."""
    outputs = take_output()
    _raise_descriptor_limit()
    with _logging_to(outputs, command), queued(outputs):
        return _Life(served, command, outputs, reload).run()


class _Life:
    """The command from its first line to its last."""

    def __init__(
        self, served: Served, command: CommandSettings, outputs: Outputs, reload: Callable[[], None] | None
    ) -> None:
        self._served = served
        self._command = command
        self._outputs = outputs
        self._scripts = ScriptWatch(served)
        self._notifier = service_manager.Notifier(os.environ, self._status, lambda: not served.is_over)
        self._reloads = Reloads(served.ready, self._notifier.reloading, self._notifier.reloaded)
        self._reload = reload
        self._signals = Signals(served, self._reloads, self._notifier.stopping)

    def run(self) -> int:
        """Serve until a signal ends it, and return the exit code."""
        self._served.bind()
        try:
            self._serve()
        except ServerStoppedError:
            pass  # a signal can come before the loop does
        finally:
            self._reloads.stop()
            # A stop that a signal began must complete; after wait() it has.
            self._served.finish()
            self._unload()
        if self._signals.asked == 0:
            complain("listener: it ended by itself; see the messages above, then start again")
            return FAILED
        return OK

    def _serve(self) -> None:
        # The settings file may come to have some. Before that: it loads those that it adds itself.
        if self._reload or self._scripts.has_some():
            self._reloads.add(self._scripts.load_all)
        if self._reload:
            self._reloads.add(self._reload)
        self._reloads.look = self._scripts.look
        self._warn_of_sockets()
        # The handlers are there before a client is served, or the first line is, so a signal may follow either.
        self._signals.begin()
        for line in self._served.start():
            self._announce(line)
        # Before any word on stderr, where both lead to the same place. Clients are served meanwhile.
        self._outputs.flush(_FIRST_LINE_SECONDS)
        self._notifier.ready()
        self._reloads.start()
        self._served.wait()

    def _unload(self) -> None:
        """Unload the scripts; one that does not return must not hold up the end."""
        if not self._scripts.has_some():
            return
        thread = start_thread("interpose-unload", self._scripts.end)
        thread.join(_UNLOAD_SECONDS)
        if thread.is_alive():
            _logger.warning(
                "script: its unload() has not returned for %g s; the end does not wait for it", _UNLOAD_SECONDS
            )

    def _announce(self, text: str) -> None:
        if self._command.log_format != "plain":
            _logger.info("%s", text)
        elif self._command.quiet:
            return
        elif self._served.keeps_standard_output():
            complain(text)
        else:
            say(f"interpose: {text}")

    def _warn_of_sockets(self) -> None:
        taken = [str(getattr(listener, "address", "")) for listener, _ in self._served.pairs()]
        for address in service_manager.unused(os.environ, taken):
            _logger.warning("%s: it was passed to this process, and no listener takes it; write it as LISTEN", address)
        service_manager.forget(os.environ)

    def _status(self) -> str:
        return counts_text(*self._served.counts())


def set_level(command: CommandSettings) -> None:
    """Let the log say as much as `command` wants."""
    level = logging.DEBUG if command.verbose else logging.ERROR if command.quiet else logging.WARNING
    logging.getLogger("interpose").setLevel(level)
    for name in ("interpose.command", "interpose.script"):
        logging.getLogger(name).setLevel(min(level, logging.INFO) if level != logging.ERROR else level)
    # The lines of one who has asked for them.
    for name in (ACCESS, REPORTS):
        logging.getLogger(name).setLevel(logging.INFO)


@contextmanager
def _logging_to(outputs: Outputs, command: CommandSettings) -> Generator[None]:
    """Write the log to standard error, in the form that the command's settings say."""
    set_level(command)
    logger = logging.getLogger("interpose")
    form = formatter(command.log_format, sys.stderr)
    handler = LogHandler(outputs.err, form) if outputs.err else logging.NullHandler()
    logger.addHandler(handler)
    # A script may log by itself, and must not have these lines a second time.
    logger.propagate = False
    # A terminal that has gone away must not fill up with tracebacks about itself.
    logging.raiseExceptions = False
    if command.log_format != "plain":
        complain_as(lambda text: form.format(_error_record(text)))
    try:
        yield
    finally:
        logger.propagate = True


def _error_record(text: str) -> logging.LogRecord:
    return logging.LogRecord("interpose.command", logging.ERROR, "", 0, "%s", (printable(text),), None)


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
