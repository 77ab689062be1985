"""An installed wheel's OpenMP: one library, loaded beside scikit-learn's, and limited as it is."""

import sys
from pathlib import Path

import threadpoolctl

import fastnn.neighbors  # noqa: F401
from fastnn._core._threads import available_cores, effective_n_threads


def openmp_libraries(package):
    """Return the libraries of OpenMP that a package's wheel has brought along."""
    return [
        library
        for library in threadpoolctl.threadpool_info()
        if library["user_api"] == "openmp"
        and Path(library["filepath"]).parent.name == f"{package}.libs"
    ]


def main():
    ours, theirs = openmp_libraries("fastnn_kernels"), openmp_libraries("scikit_learn")
    print(f"OpenMP of fastnn: {len(ours)}, of scikit-learn: {len(theirs)}")
    assert len(ours) == 1, ours
    assert len(theirs) <= 1, theirs
    with threadpoolctl.threadpool_limits(1):
        assert effective_n_threads(None) == 1
        assert all(library["num_threads"] == 1 for library in threadpoolctl.threadpool_info())
    # OpenMP knows no limits of containers.
    wanted = min(available_cores(), *(library["num_threads"] for library in ours))
    assert effective_n_threads(None) == wanted, (effective_n_threads(None), wanted)
    print(f"threadpoolctl limits both; without a limit: {wanted} threads")


if __name__ == "__main__":
    sys.exit(main())
