"""Runs inside the sandbox, as a pytest plugin: a test that takes longer than FORKLOCK_TEST_TIMEOUT seconds fails.

A signal ends set-up or call where Python code runs; code that never comes back from C is ended with the whole
run. Stands alone: any Python from 3.6 and pytest from 6 on.
"""

import os
import signal
import threading
from typing import Any, Iterator

import pytest

_LIMIT = float(os.environ.get("FORKLOCK_TEST_TIMEOUT", "0"))


def _expired(_number: int, _frame: Any) -> None:
    pytest.fail("timed out after {:g} s".format(_LIMIT))


def _limited() -> Iterator[None]:
    if _LIMIT <= 0 or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, _expired)
    signal.setitimer(signal.ITIMER_REAL, _LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_setup() -> Iterator[None]:
    yield from _limited()


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_call() -> Iterator[None]:
    yield from _limited()
