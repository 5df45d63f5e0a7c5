# Short names for the commands of CONTRIBUTING.md.

# All tests, as CI runs them: Rust, Python, the built wheel.
test *arguments:
    tests/run {{arguments}}

# Everything CI checks.
ci:
    .ci/run

# A virtual environment for working on it, with the extension built from this tree.
develop:
    test -x .venv/bin/python || python3 -m venv .venv
    .venv/bin/python -m pip install --quiet pip==26.3
    .venv/bin/python -m pip install --quiet --group dev
    .venv/bin/maturin develop --locked

# The documentation as a site, in target/site/html.
docs:
    .venv/bin/python -m pip install --quiet --group docs
    .venv/bin/python -m docs.site

# Formats Rust and Python.
format:
    cargo fmt
    .venv/bin/ruff check --fix-only --quiet
    .venv/bin/ruff format
