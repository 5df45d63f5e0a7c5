"""Fixtures of the tests of hooks."""

from __future__ import annotations

import pytest
from support.callback_log import CallbackLog


@pytest.fixture
def callback_log(caplog: pytest.LogCaptureFixture) -> CallbackLog:
    """What the log says about callbacks during the test."""
    return CallbackLog(caplog)
