"""Real programs, server and client, with the `interpose` command between them."""
