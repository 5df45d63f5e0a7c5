"""The tree of exceptions: one base, and the nearest built-in."""

from __future__ import annotations

import copy
import errno
import pickle
import ssl

import interpose
import pytest
from interpose import BindError, BindPermissionError, InterposeError, ResolveError

BASES: dict[str, type[BaseException]] = {
    "AddressError": ValueError,
    "ArgumentTypeError": TypeError,
    "BindError": OSError,
    "BindPermissionError": PermissionError,
    "ConfigError": ValueError,
    "ConnectError": ConnectionError,
    "ConnectionClosedError": ConnectionError,
    "ExpectationError": AssertionError,
    "NoUpstreamError": AttributeError,
    "ForkError": RuntimeError,
    "FramingError": ValueError,
    "LaneError": RuntimeError,
    "ReadEndError": EOFError,
    "ReadError": OSError,
    "ReadLimitError": OSError,
    "ReadTimeoutError": TimeoutError,
    "RecordError": ValueError,
    "RecvError": OSError,
    "RecvTimeoutError": TimeoutError,
    "ReplayError": AssertionError,
    "ResolveError": OSError,
    "RuntimeStartError": RuntimeError,
    "SendBufferFullError": BlockingIOError,
    "SendTimeoutError": TimeoutError,
    "ServerStoppedError": RuntimeError,
    "StartTlsError": RuntimeError,
    "TlsCertificateError": ssl.SSLCertVerificationError,
    "TlsError": ssl.SSLError,
    "TlsFileError": OSError,
    "WaitTimeoutError": TimeoutError,
}


def test_the_table_has_every_exception() -> None:
    public = {name: getattr(interpose, name) for name in interpose.__all__}
    found = {name for name, value in public.items() if isinstance(value, type) and issubclass(value, BaseException)}
    assert found == {*BASES, "InterposeError"}


@pytest.mark.parametrize(("name", "base"), BASES.items())
def test_an_error_is_ours_and_the_nearest_built_in(name: str, base: type[BaseException]) -> None:
    kind = getattr(interpose, name)
    assert issubclass(kind, InterposeError)
    assert issubclass(kind, base)
    assert f"{kind.__module__}.{kind.__qualname__}" == f"interpose.{name}"
    with pytest.raises(base, match="what: why; what to try"):
        raise kind("what: why; what to try")


@pytest.mark.parametrize("kind", [BindError, BindPermissionError, ResolveError])
def test_a_system_error_has_its_number_and_its_message_only(kind: type[OSError]) -> None:
    error = kind(errno.EADDRINUSE, "what: why; what to try")
    assert error.errno == errno.EADDRINUSE
    assert str(error) == "what: why; what to try"


@pytest.mark.parametrize("name", [*BASES, "InterposeError"])
def test_an_error_can_be_pickled_and_copied(name: str) -> None:
    error = getattr(interpose, name)("text")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert twin.args == error.args


def test_a_permission_error_is_a_bind_error() -> None:
    assert issubclass(BindPermissionError, BindError)
