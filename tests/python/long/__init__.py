"""Tests that take minutes. They run when this folder is named: `pytest tests/python/long`."""
