"""The programs that interpose is compared with: how each is configured, started and ended."""
