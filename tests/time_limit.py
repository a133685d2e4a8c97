"""A limit on what might wait for ever, such as the reading of a pipe."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Fail after so many seconds, rather than hang."""

    def stop(_signal: int, _frame: Any) -> None:
        raise AssertionError(f"nothing came back in {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
