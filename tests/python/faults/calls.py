"""The calls, with the errors of their manual pages, and what they may come to."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from .supervisor import Call

# x86_64; elsewhere the table is not made.
_NUMBERS = {
    "read": 0, "write": 1, "ioctl": 16, "socket": 41, "connect": 42, "sendto": 44, "recvfrom": 45, "sendmsg": 46,
    "shutdown": 48, "bind": 49, "listen": 50, "getsockname": 51, "getpeername": 52, "setsockopt": 54, "getsockopt": 55,
    "fcntl": 72, "epoll_wait": 232, "epoll_ctl": 233, "openat": 257, "splice": 275, "timerfd_create": 283,
    "timerfd_settime": 286, "accept4": 288, "eventfd2": 290, "epoll_create1": 291, "pipe2": 293, "clone3": 435,
}  # fmt: skip

RETRIED, GOES_ON, FAILS, REFUSED = "tried again", "goes on", "fails", "start refused"


@dataclass(frozen=True)
class Row:
    """A call, where it is made, and what its errors may come to."""

    label: str
    call: str
    errors: str
    scene: str
    allowed: tuple[str, ...]
    matches: Callable[[Call], bool] = lambda _: True

    @property
    def number(self) -> int:
        """Return the call's number."""
        return _NUMBERS[self.call]


def runs_here() -> bool:
    """Tell whether the calls have these numbers here."""
    return os.uname().machine == "x86_64"


def _on_socket(call: Call) -> bool:
    return call.descriptor().startswith("socket:")


def _on_pipe(call: Call) -> bool:
    return call.descriptor().startswith("pipe:")


def _on_timer(call: Call) -> bool:
    return "timerfd" in call.descriptor()


def _on_events(call: Call) -> bool:
    return "eventfd" in call.descriptor()


def _option(*options: tuple[int, int]) -> Callable[[Call], bool]:
    return lambda call: call.arguments[1:3] in options


def _epoll(operation: int, kind: str = "socket:") -> Callable[[Call], bool]:
    return lambda call: call.arguments[1] == operation and kind in call.descriptor(2)


def _names_a_peer(call: Call) -> bool:
    return call.family() != 0


def _opens_hosts(call: Call) -> bool:
    return call.memory(1, 11) == b"/etc/hosts\0"


_SO_ERROR, _SO_PEERCRED, _SO_RCVLOWAT = (1, 4), (1, 17), (1, 18)
_NETLINK = 16
# The lengths of a question of sock_diag(7), and of the buffer for the answer, which no other call here has.
_QUESTION, _ANSWER = 40, 512
_ADD, _DELETE = 1, 2
_SET_PIPE_SIZE = 1031

_ACCEPT = (
    "EBADF ECONNABORTED EFAULT EINTR EINVAL EMFILE ENFILE ENOBUFS ENOMEM ENOTSOCK EOPNOTSUPP EPERM EPROTO ENETDOWN "
    "ENOPROTOOPT EHOSTDOWN ENONET EHOSTUNREACH ENETUNREACH ENOSYS"
)
_SOCKET = "EACCES EAFNOSUPPORT EINVAL EMFILE ENFILE ENOBUFS ENOMEM EPROTONOSUPPORT EPERM ENOSYS"
_CONNECT = (
    "EACCES EPERM EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EALREADY EBADF ECONNREFUSED EFAULT EINTR EISCONN ENETUNREACH "
    "EHOSTUNREACH ENOTSOCK EPROTOTYPE ETIMEDOUT ENOMEM ENOSYS"
)
_RECEIVE = (
    "EBADF ECONNREFUSED ECONNRESET EFAULT EINTR EINVAL EIO ENOMEM ENOBUFS ENOTCONN ENOTSOCK EPERM ETIMEDOUT ENOSYS"
)
_SEND = (
    "EACCES EBADF ECONNRESET EDESTADDRREQ EFAULT EINTR EINVAL EISCONN EMSGSIZE ENOBUFS ENOMEM ENOTCONN ENOTSOCK "
    "EOPNOTSUPP EPERM EPIPE ENOSYS"
)
_SPLICE = "EBADF EINVAL EIO ENOMEM ESPIPE EPERM EINTR ENOSYS"
_OPTION = "EBADF EFAULT EINVAL ENOPROTOOPT ENOTSOCK EPERM ENOMEM ENOSYS"
_NAME = "EBADF EFAULT EINVAL ENOBUFS ENOTCONN ENOTSOCK EPERM ENOSYS"
_QUESTIONS = "EACCES EAGAIN EBADF ECONNREFUSED EINTR EINVAL ENOBUFS ENOMEM EPERM ENOSYS"
_ANSWERS = "EAGAIN EBADF EINTR EINVAL ENOBUFS ENOMEM ENOTCONN EPERM ENOSYS"
_EPOLL_ADD = "EBADF EEXIST EINVAL ELOOP ENOENT ENOMEM ENOSPC EPERM ENOSYS"

ROWS = (
    Row("socket, of the listener", "socket", _SOCKET, "start", (REFUSED,), lambda call: call.arguments[0] == 2),
    Row(
        "bind, of the listener",
        "bind",
        "EACCES EADDRINUSE EADDRNOTAVAIL EBADF EINVAL ENOMEM ENOTSOCK",
        "start",
        (REFUSED,),
    ),
    Row("listen", "listen", "EADDRINUSE EBADF ENOTSOCK EOPNOTSUPP EPERM", "start", (REFUSED,)),
    Row("epoll_create1", "epoll_create1", "EINVAL EMFILE ENFILE ENOMEM EPERM", "first start", (REFUSED,)),
    Row("eventfd2", "eventfd2", "EINVAL EMFILE ENFILE ENODEV ENOMEM EPERM", "first start", (REFUSED,)),
    Row("clone3", "clone3", "EAGAIN ENOMEM EPERM", "first start", (REFUSED,)),
    Row("epoll_ctl, to be woken", "epoll_ctl", _EPOLL_ADD, "first start", (REFUSED,), _epoll(_ADD, "eventfd")),
    Row("timerfd_create", "timerfd_create", "EINVAL EMFILE ENFILE ENODEV ENOMEM EPERM", "start", (GOES_ON,)),
    Row("timerfd_settime", "timerfd_settime", "EFAULT EINVAL ECANCELED EPERM", "start", (GOES_ON,)),
    Row("epoll_ctl, to watch the listener", "epoll_ctl", _EPOLL_ADD, "start", (RETRIED,), _epoll(_ADD)),
    Row("accept4", "accept4", _ACCEPT, "serve", (RETRIED, GOES_ON)),
    Row("epoll_ctl, to watch a peer", "epoll_ctl", _EPOLL_ADD, "serve", (FAILS,), _epoll(_ADD)),
    Row("epoll_ctl, on another thread", "epoll_ctl", _EPOLL_ADD, "move", (FAILS,), _epoll(_ADD)),
    Row(
        "epoll_ctl, to watch no longer",
        "epoll_ctl",
        "EBADF EINVAL ENOENT ENOMEM EPERM",
        "serve",
        (GOES_ON,),
        _epoll(_DELETE),
    ),
    Row("epoll_wait", "epoll_wait", "EINTR", "serve", (RETRIED, GOES_ON)),
    Row("read, of a timer", "read", "EINTR EIO", "clock", (GOES_ON,), _on_timer),
    Row("clone3, for a lookup", "clone3", "EAGAIN ENOMEM EPERM", "name", (FAILS, RETRIED)),
    Row(
        "openat, by getaddrinfo",
        "openat",
        "EACCES EINTR EIO EMFILE ENFILE ENOENT ENOMEM EPERM",
        "name",
        (FAILS, GOES_ON),
        _opens_hosts,
    ),
    Row("socket, of an upstream", "socket", _SOCKET, "serve", (FAILS,)),
    Row("bind, to the source", "bind", "EACCES EADDRINUSE EADDRNOTAVAIL EBADF EINVAL ENOMEM", "source", (FAILS,)),
    Row("connect", "connect", _CONNECT, "serve", (FAILS,), _names_a_peer),
    Row(
        "connect, to disconnect",
        "connect",
        "EINVAL EPERM EBUSY ENOSYS",
        "abort",
        (GOES_ON,),
        lambda call: call.family() == 0,
    ),
    Row("getsockopt, SO_ERROR", "getsockopt", _OPTION, "refused", (FAILS,), _option(_SO_ERROR)),
    Row("getsockname", "getsockname", _NAME, "serve", (FAILS,)),
    Row("getpeername", "getpeername", _NAME, "wildcard", (FAILS,)),
    Row("setsockopt, of an upstream", "setsockopt", _OPTION, "serve", (GOES_ON,)),
    Row(
        "setsockopt, SO_RCVLOWAT",
        "setsockopt",
        "EBADF EINVAL ENOPROTOOPT EPERM ENOSYS",
        "one way",
        (GOES_ON,),
        _option(_SO_RCVLOWAT),
    ),
    Row("recvfrom", "recvfrom", _RECEIVE, "serve", (FAILS, RETRIED, GOES_ON), _on_socket),
    Row("sendto", "sendto", _SEND, "serve", (FAILS, RETRIED, GOES_ON), _on_socket),
    Row("sendmsg", "sendmsg", _SEND, "pieces", (FAILS, RETRIED, GOES_ON), _on_socket),
    Row("splice, into a pipe", "splice", _SPLICE, "stream", (GOES_ON, RETRIED), _on_socket),
    Row("splice, out of a pipe", "splice", _SPLICE, "stream", (GOES_ON, RETRIED), _on_pipe),
    Row("pipe2", "pipe2", "EFAULT EINVAL EMFILE ENFILE ENOMEM ENOPKG EPERM ENOSYS", "stream", (GOES_ON,)),
    Row(
        "fcntl, F_SETPIPE_SZ",
        "fcntl",
        "EBADF EBUSY EINVAL ENOMEM EPERM",
        "stream",
        (GOES_ON,),
        lambda call: call.arguments[1] == _SET_PIPE_SIZE,
    ),
    Row("ioctl, SIOCOUTQ", "ioctl", "EBADF EFAULT EINVAL ENOTTY EPERM ENOSYS", "abort", (GOES_ON,), _on_socket),
    Row("shutdown", "shutdown", "EBADF EINVAL ENOTCONN ENOTSOCK EPERM ENOSYS", "serve", (FAILS,)),
    Row("getsockopt, SO_PEERCRED", "getsockopt", _OPTION, "unix", (GOES_ON,), _option(_SO_PEERCRED)),
    Row("socket, of sock_diag", "socket", _SOCKET, "unix", (GOES_ON,), lambda call: call.arguments[0] == _NETLINK),
    Row("sendto, of sock_diag", "sendto", _QUESTIONS, "unix", (GOES_ON,), lambda call: call.arguments[2] == _QUESTION),
    Row("recvfrom, of sock_diag", "recvfrom", _ANSWERS, "unix", (GOES_ON,), lambda call: call.arguments[2] == _ANSWER),
    Row("write, to wake a thread", "write", "EAGAIN", "serve", (GOES_ON, RETRIED), _on_events),
)
