"""What the tests are made with. No test is here.

The two ends of a connection:

* `peers`: clients and upstreams as plain sockets, an echoing upstream, and how a stream ended ("eof" or "reset").
* `addresses`: the address of a server, and how it treats a visitor.
* `exchanges`: one exchange through a server, an upstream that keeps all it gets, and main_loop() with work beside it.
* `toxiproxy_client`: calls of the HTTP API of toxiproxy.
* `dialogues`: dialogues in the protocols that framings know, message by message, and two ends that hold them.
* `connection_pairs`: one proxied connection with both its ends at hand, sides swapped or not.
* `background_traffic`: clients that echo without end while a test stops, forks or leaves.
* `stalled`: TLS handshakes that never end.
* `scale`: many connections, connects or bytes through a proxy; sizes are the caller's.
* `heavy_load`: thousands of clients and gigabytes, from `load_process`, a program.

Processes:

* `processes`: child processes that are bounded and ended with everything they started; programs by name, or a skip.
* `scripts`: Python scripts and the command, run to their end.
* `proxies`: proxies in processes of their own: the command, and `proxy_process`, a program that a test asks and limits.
* `pytest_runs`: runs of pytest within a test, for the plugin.
* `repeated_exits`: a script that leaves while callbacks run, many times.
* `example_scripts`: the scripts of examples/.
* `doc_screens`: pictures of terminals, from the runs of pages; it writes them, too.
* `doc_page`, `doc_terminal`, `doc_blocks`: a page of the documentation, run as it is printed; a terminal in which one
  of its commands runs; its blocks.

Callbacks:

* `callbacks`: callbacks that many tests use.
* `callback_log`: what the log says about callbacks.
* `tutorial_scripts`: servers in the form of the 2012 tutorial.

Surroundings:

* `deadline`: waiting for a condition, with a bound.
* `namespaces`: network namespaces: two machines with a wire between them.
* `name_server`: a name server that answers, refuses, or keeps silent.
* `seccomp`: system calls that this process is refused.
* `worked_example`: a change that a page shows, made to a copy of the package.
* `reference_tables`: the tables of docs/reference that come from the table of settings; it writes them, too.
* `tshark`: captures as tshark sees them.
* `payloads`: large random files and their digests.
* `imports`: the arrows between a package's files, and the circles among those.
* `measurements`: numbers that are recorded with the results.
"""
