"""Benchmarks: `python3 -m benches.compare`, from the root of a checkout."""
