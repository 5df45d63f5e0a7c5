"""Ready scripts: `interpose 9090 db:5432 --script count`. Each is a short file, to use or to copy."""
