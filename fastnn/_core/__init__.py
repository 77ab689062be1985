"""Everything compiled. Importing this package settles how OpenMP's threads wait."""

import os as _os


def _load_openmp():
    """Load the OpenMP runtime with threads that soon sleep while they wait.

    libgomp's threads spin for about a millisecond by default; where cores are shared, that takes
    the time from the very thread they wait for (measured: a search of 8 ms takes 96). libgomp
    reads the variable once, when it is loaded, so it is set for that moment only; whoever has set
    a policy, or has loaded libgomp before, is not overruled.
    """
    if "GOMP_SPINCOUNT" in _os.environ or "OMP_WAIT_POLICY" in _os.environ:
        return
    _os.environ["GOMP_SPINCOUNT"] = "1000"  # some 20 microseconds: from one loop to the next
    try:
        from . import _threads  # noqa: F401
    finally:
        del _os.environ["GOMP_SPINCOUNT"]


_load_openmp()
