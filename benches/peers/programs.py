"""Peers that are programs of the system: one worker each, on 127.0.0.1, otherwise as they come."""

import subprocess
from pathlib import Path

from .peer import Command, Peer, Ports, open_files

# A process for every connection: more would measure the machine's memory.
PROCESSES = 200

# Both give every chunk back as it came.
LUA = """
local identity = { id = "identity" }
identity.__index = identity

function identity:new()
    return setmetatable({}, identity)
end

function identity:start_analyze(transaction, channel)
    filter.register_data_filter(self, channel)
end

function identity:tcp_payload(transaction, channel)
    local data = channel:data()
    if type(data) == "string" then
        channel:set(data)
    end
end

core.register_filter("identity", identity, function(made) return made end)
"""
NJS = """
function identity(session) {
    session.on("upload", function (data, flags) { session.send(data, flags); });
    session.on("download", function (data, flags) { session.send(data, flags); });
}
export default { identity };
"""


# What the ends offer is TLS 1.3 with AES-128-GCM and X25519 alone, so nobody's defaults choose anything else.
HAPROXY_TERMINATES = "ssl crt {certificates}/pair.pem"
HAPROXY_ORIGINATES = "ssl verify required ca-file {certificates}/ca.pem verifyhost localhost"


def _haproxy(
    extra_global: str = "", extra_defaults: str = "", extra_listen: str = "", *, bind: str = "", server: str = ""
) -> Command:
    def command(ports: Ports, directory: Path) -> list[str]:
        (directory / "identity.lua").write_text(LUA)
        # Two sockets for a connection, and pipes for a quarter of them where it splices.
        most = open_files() // 3 if "splice" in extra_defaults else open_files() // 2 - 500
        text = f"""
global
    nbthread 1
    maxconn {most}
    {extra_global.format(directory=directory)}
defaults
    mode tcp
    {extra_defaults}
    timeout connect 10s
    timeout client 1h
    timeout server 1h
listen relay
    bind 127.0.0.1:{ports.listen} backlog 1024 {bind.format(certificates=ports.certificates)}
    {extra_listen}
    server backend 127.0.0.1:{ports.backend} {server.format(certificates=ports.certificates)}
"""
        file = directory / "haproxy.cfg"
        file.write_text(text)
        return ["haproxy", "-db", "-f", str(file)]

    return command


def _nginx(extra_stream: str = "", extra_server: str = "", modules: tuple[str, ...] = ("stream",)) -> Command:
    def command(ports: Ports, directory: Path) -> list[str]:
        loads = [f"load_module {file};" for file in map(nginx_module, modules) if file.exists()]
        (directory / "identity.js").write_text(NJS)
        text = f"""
{" ".join(loads)}
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log crit;
events {{ worker_connections {open_files() - 100}; }}
stream {{
    {extra_stream.format(directory=directory)}
    proxy_buffer_size 64k;
    proxy_timeout 1h;
    server {{
        listen 127.0.0.1:{ports.listen} backlog=1024;
        {extra_server}
        proxy_pass 127.0.0.1:{ports.backend};
    }}
}}
"""
        file = directory / "nginx.conf"
        file.write_text(text)
        return ["nginx", "-c", str(file), "-p", str(directory), "-e", str(directory / "nginx.log")]

    return command


def nginx_module(name: str) -> Path:
    """Tell where nginx has a module."""
    built = subprocess.run(["nginx", "-V"], capture_output=True, text=True, check=False, timeout=20).stderr
    words = dict(word.split("=", 1) for word in built.split() if word.startswith("--") and "=" in word)
    return Path(words.get("--modules-path", "/usr/lib/nginx/modules")) / f"ngx_{name}_module.so"


def _has_njs() -> bool:
    return nginx_module("stream_js").exists()


def _socat(ports: Ports, _: Path) -> list[str]:
    listen = f"TCP-LISTEN:{ports.listen},bind=127.0.0.1,fork,reuseaddr,backlog=1024,nodelay"
    return ["socat", "-b", "65536", listen, f"TCP:127.0.0.1:{ports.backend},nodelay"]


def _socat_dump(ports: Ports, directory: Path) -> list[str]:
    # The dump goes where the one of ours goes.
    words = " ".join(_socat(ports, directory)[1:])
    return ["sh", "-c", f"exec socat -x -v {words} 2>/dev/null"]


def _stunnel(settings: str) -> Command:
    def command(ports: Ports, directory: Path) -> list[str]:
        file = directory / "stunnel.conf"
        file.write_text(f"""
foreground = yes
syslog = no
debug = crit
pid =
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[relay]
accept = 127.0.0.1:{ports.listen}
connect = 127.0.0.1:{ports.backend}
{settings.format(certificates=ports.certificates)}
""")
        return ["stunnel", str(file)]

    return command


def relays() -> list[Peer]:
    """Give those that relay."""
    splice = _haproxy("tune.pipesize 262144", "option splice-request\n    option splice-response")
    haproxy, nginx = ("haproxy", "-v"), ("nginx", "-v")
    haproxy_tls = {
        "terminate": _haproxy(bind=HAPROXY_TERMINATES),
        "originate": _haproxy(server=HAPROXY_ORIGINATES),
    }
    stunnel_tls = {
        "terminate": _stunnel("cert = {certificates}/pair.pem"),
        "originate": _stunnel("client = yes\nverifyChain = yes\nCAfile = {certificates}/ca.pem\ncheckHost = localhost"),
    }
    return [
        Peer("haproxy", "HAProxy", _haproxy(), haproxy, tls=haproxy_tls),
        Peer("haproxy-splice", "HAProxy with splice", splice, haproxy),
        Peer("nginx", "nginx stream, 64 KiB", _nginx(), nginx),
        Peer("socat", "socat, fork", _socat, ("socat", "-V"), most_connections=PROCESSES),
        # A thread for every connection.
        Peer("stunnel", "stunnel", None, ("stunnel", "-version"), most_connections=1000, tls=stunnel_tls),
        Peer("socat-x", "socat -x -v, to /dev/null", _socat_dump, ("socat", "-V"), most_connections=PROCESSES),
    ]


def callbacks() -> list[Peer]:
    """Give those that call an identity function on every chunk."""
    lua = _haproxy("lua-load {directory}/identity.lua", extra_listen="filter lua.identity")
    njs = _nginx("js_import main from {directory}/identity.js;", "js_filter main.identity;", ("stream", "stream_js"))
    return [
        Peer("haproxy-lua", "HAProxy, Lua filter", lua, ("haproxy", "-v"), callback=True),
        Peer("nginx-njs", "nginx, njs filter", njs, ("nginx", "-v"), needs=_has_njs, callback=True),
    ]
