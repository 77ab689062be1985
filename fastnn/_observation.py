"""What was accelerated, what fell back to scikit-learn and why: for the log and for reports."""

import contextlib
import functools
import logging
import time

logger = logging.getLogger("fastnn")

# Functions of (operation, reason or None, seconds), called after each operation.
observers = []


@functools.lru_cache(maxsize=1000)
def _log_once(operation, reason):
    logger.info("%s falls back to scikit-learn: %s", operation, reason)


@contextlib.contextmanager
def observe(operation, reason=None):
    """Log why an operation falls back, once, and tell the observers how long it takes."""
    if reason is not None:
        _log_once(operation, reason)
    if not observers:
        yield
        return
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - start
        for observer in list(observers):
            _tell(observer, operation, reason, seconds)


def _tell(observer, operation, reason, seconds):
    """A program does not fail because of those who look at it: they are told no more."""
    try:
        observer(operation, reason, seconds)
    except Exception:
        logger.warning("%r is told no more, as it failed", observer, exc_info=True)
        with contextlib.suppress(ValueError):
            observers.remove(observer)
