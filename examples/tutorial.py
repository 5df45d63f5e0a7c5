"""The two classes and three methods of the 2012 tutorial, "A python proxy in less than 100 lines of code", today.

    python examples/tutorial.py 9090 smtp.example.com:25

A class whose on_accept, on_recv and on_close take no arguments runs as it did then: it accepts, pairs, forwards and
closes by itself, and nothing is forwarded that it does not send. What became of its parts:

    then                                today
    ----------------------------------  ------------------------------------------------------------------------
    class TheServer, class Forward      from interpose import Forward, TheServer
    forward_to, a global                a class attribute, or an argument of TheServer
    buffer_size, a global               the same, as a class attribute or in a Relay: the most bytes of one chunk
    delay, a global                     nothing waits by the clock; the name may stay, and does nothing
    select on input_list                an event loop in Rust; input_list is a list for the methods' own use
    self.s, self.data                   the same; in today's form the arguments of on_recv(side, data)
    self.channel[self.s]                the same; in today's form side.other
    .send(data), part of it at times    all of it, in order, with a bound
    Forward().start(host, port)         the same: a connected side, or False; in today's form on_accept returns the
                                        target, and connecting delays nobody
    self.server.accept()                the same: the client's side and its address
    recv() == "", then on_close()       an end of stream is passed on first; on_close once both directions are over
    an exception ends the server        it ends that connection, and is logged
"""

import sys

from interpose import Forward, TheServer


class Tutorial(TheServer):
    """Forwards and prints, with every step written out."""

    target = "smtp.example.com:25"

    def on_accept(self) -> None:
        """Accept a client, and pair it with an upstream of its own."""
        client, address = self.server.accept()
        upstream = Forward().start(self.target)
        if not upstream:
            print(address, "finds no upstream", flush=True)
            client.close()
            return
        print(address, "is here", flush=True)
        self.input_list += [client, upstream]
        self.channel[client] = upstream
        self.channel[upstream] = client

    def on_recv(self) -> None:
        """See what the side at hand has sent, and pass it to the other."""
        print(self.data, flush=True)
        self.channel[self.s].send(self.data)

    def on_close(self) -> None:
        """Forget the two sides, and close both."""
        print(self.s.getpeername(), "has left", flush=True)
        side, other = self.s, self.channel[self.s]
        self.input_list.remove(side)
        self.input_list.remove(other)
        other.close()
        side.close()
        del self.channel[side]
        del self.channel[other]


def main() -> None:
    """Serve until Ctrl-C."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    Tutorial.target = sys.argv[2]
    server = Tutorial(sys.argv[1])
    print(server, flush=True)
    try:
        server.main_loop()
    except KeyboardInterrupt:
        sys.exit("Ctrl-C: everything is closed")


if __name__ == "__main__":
    main()
