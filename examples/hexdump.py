"""Log what both sides say, as a hex dump with a mark for the direction.

    python examples/hexdump.py 9090 smtp.example.com:25

">" is what the client sends, "<" what the upstream sends. It holds up nobody: what a slow terminal cannot take is left
out, and the output says where. The command does the same: interpose 9090 smtp.example.com:25 --hexdump
"""

import sys

from interpose import TheServer, filters


def main() -> None:
    """Serve until Ctrl-C."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    server = TheServer(sys.argv[1], forward_to=sys.argv[2], filters=[filters.Hexdump()])
    print(server, flush=True)
    try:
        server.main_loop()
    except KeyboardInterrupt:
        sys.exit("Ctrl-C: everything is closed")


if __name__ == "__main__":
    main()
