"""Scripts of the command: modules whose hooks a server calls, loaded again when their files change."""
