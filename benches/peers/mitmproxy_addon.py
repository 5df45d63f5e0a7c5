"""An identity callback for mitmproxy, on every chunk. It keeps none, as a relay that runs for long has to."""

from mitmproxy import tcp


def tcp_message(flow: tcp.TCPFlow) -> None:
    flow.messages[-1].content = bytes(flow.messages[-1].content)
    flow.messages.clear()
