"""Run programs that use scikit-learn with the kernels in the place of its neighbor searches.

::

    python -m fastnn.accel [--report] PROGRAM [ARGS ...]
    python -m fastnn.accel [--report] -m MODULE [ARGS ...]
    python -m fastnn.accel [--report] -c CODE [ARGS ...]

or, in a program, `install()`, `uninstall()` and the context manager `enabled()`. Methods of
scikit-learn's classes are replaced, so what is imported already, subclasses, pickles and
scikit-learn's own uses (LocalOutlierFactor, Isomap, DBSCAN, TSNE, SpectralClustering,
LabelSpreading ...) are served as well; functions (pairwise distances) are replaced in
`sklearn.metrics` and wherever scikit-learn has imported them. What the kernels do not serve goes to
scikit-learn's own code. Estimators that were fitted in between keep working after `uninstall()`.
"""

import argparse
import atexit
import collections
import contextlib
import functools
import os
import sys
import threading

import numpy as np
from sklearn.metrics import pairwise

from . import _drop_in, _program, _validation, metrics
from ._metric_space import space_of

__all__ = ["Report", "enabled", "install", "uninstall"]

_lock = threading.RLock()
# Who wants the kernels: install(), and so many `with enabled()` blocks.
_wanted_always = False
_wanted_in_blocks = 0
# scikit-learn's functions and what stands in for them, while anyone wants that.
_replaced_functions = {}


def install():
    """Put the kernels in the place of scikit-learn's searches, in this process.

    Once or many times is the same; `uninstall` undoes it.

    Examples
    --------
    >>> import fastnn.accel
    >>> from sklearn.neighbors import NearestNeighbors
    >>> fastnn.accel.install()
    >>> NearestNeighbors(n_neighbors=1).fit([[0.0], [1.0]]).kneighbors([[0.9]])[1]
    array([[1]])
    >>> fastnn.accel.uninstall()
    """
    global _wanted_always
    with _lock:
        _wanted_always = True
        _replace_or_restore()


def uninstall():
    """Undo `install`: scikit-learn is as it was. Does nothing where nothing is installed.

    Blocks of `enabled` that are still open stay accelerated.

    Examples
    --------
    >>> import fastnn.accel
    >>> fastnn.accel.install()
    >>> fastnn.accel.uninstall()
    """
    global _wanted_always
    with _lock:
        _wanted_always = False
        _replace_or_restore()


@contextlib.contextmanager
def enabled(report=None):
    """Install for the time of a `with` block; blocks may be nested, and overlap in threads.

    Parameters
    ----------
    report : Report, optional
        Collects what was accelerated in the block, what fell back, and why.

    Examples
    --------
    >>> import fastnn.accel
    >>> from sklearn.neighbors import NearestNeighbors
    >>> report = fastnn.accel.Report()
    >>> with fastnn.accel.enabled(report):
    ...     _ = NearestNeighbors(n_neighbors=1).fit([[0.0], [1.0]]).kneighbors([[0.9]])
    >>> [(operation, reason) for operation, reason, calls, seconds in report.rows()]
    [('kneighbors', None)]
    """
    global _wanted_in_blocks
    with _lock:
        _wanted_in_blocks += 1
        _replace_or_restore()
    if report is not None:
        _drop_in.observers.append(report)
    try:
        yield
    finally:
        if report is not None:
            _drop_in.observers.remove(report)
        with _lock:
            _wanted_in_blocks -= 1
            _replace_or_restore()


def _replace_or_restore():
    """Make scikit-learn what is wanted, if it is not."""
    wanted = _wanted_always or _wanted_in_blocks > 0
    if wanted and not _replaced_functions:
        for (owner, name), replacement in _drop_in.REPLACEMENTS.items():
            # What others have put there is what they want.
            original = _drop_in.ORIGINALS[owner, name]
            if vars(owner)[name] is original and original.__module__.startswith("sklearn."):
                setattr(owner, name, replacement)
        _replaced_functions.update(
            (getattr(pairwise, name), replacement) for name, replacement in _function_replacements()
        )
        _exchange(_replaced_functions)
    elif not wanted and _replaced_functions:
        for (owner, name), original in _drop_in.ORIGINALS.items():
            if vars(owner)[name] is _drop_in.REPLACEMENTS[owner, name]:
                setattr(owner, name, original)
        _exchange({ours: theirs for theirs, ours in _replaced_functions.items()})
        _replaced_functions.clear()


def _exchange(functions):
    """Replace functions by others in all of scikit-learn's modules that hold them."""
    modules = [m for name, m in list(sys.modules.items()) if name.partition(".")[0] == "sklearn"]
    for module in modules:
        for name, value in list(vars(module).items()):
            with contextlib.suppress(TypeError):  # values that cannot be hashed
                if value in functions:
                    setattr(module, name, functions[value])
    table = pairwise.PAIRWISE_DISTANCE_FUNCTIONS
    for name, value in table.items():
        with contextlib.suppress(TypeError):
            table[name] = functions.get(value, value)


# ---- functions -----------------------------------------------------------------------------------


def _are_plain(*arrays):
    """Whether the kernels take these arrays as they are, and scikit-learn would not refuse them.

    All else, errors among it, is scikit-learn's.
    """
    return (
        all(
            type(X) is np.ndarray
            and X.ndim == 2
            and X.size > 0
            and X.dtype in _validation.NATIVE
            and (X.dtype == _validation.UINT8 or np.isfinite(np.add.reduce(X, axis=None)))
            for X in arrays
        )
        and len({X.shape[1] for X in arrays}) == 1
    )


def _substitute(name, ours):
    """Return scikit-learn's function of that name, but with `ours` for plain arguments.

    `ours` returns NotImplemented for other arguments that it does not serve.
    """
    theirs = getattr(pairwise, name)

    @functools.wraps(theirs)
    def substitute(X, Y=None, *args, **kwargs):
        reason = "not plain numeric arrays"
        if _are_plain(*([X] if Y is None else [X, Y])):
            result = ours(X, Y, *args, **kwargs)
            if result is not NotImplemented:
                return result
            reason = "a metric or parameters of scikit-learn's"
        with _drop_in.observe(name, reason):
            return theirs(X, Y, *args, **kwargs)

    return substitute


def _served(metric, parameters):
    return not isinstance(space_of(metric, **parameters), str)


def _pairwise(X, Y=None, metric="euclidean", *, n_jobs=None, ensure_all_finite=True, **kwds):
    if ensure_all_finite is not True or not isinstance(metric, str):
        return NotImplemented
    entry = pairwise.PAIRWISE_DISTANCE_FUNCTIONS.get(metric)
    if entry is not None and entry not in _replaced_functions.values():  # a user's own
        return NotImplemented
    if metric in ("euclidean", "l2") and set(kwds) <= {"squared"}:
        return metrics.euclidean_distances(X, Y, n_jobs=n_jobs, **kwds)
    if not _served(metric, kwds):
        return NotImplemented
    if metric == "cosine":
        narrow = X.dtype == np.float32 and (Y is None or Y.dtype == np.float32)
        distances = metrics.cosine_distances(X, Y, n_jobs=n_jobs)
        return distances.astype(np.float32 if narrow else np.float64, copy=False)
    # SciPy computes these for scikit-learn, in float64.
    X, Y = X.astype(np.float64, copy=False), None if Y is None else Y.astype(np.float64, copy=False)
    return metrics.pairwise_distances(X, Y, metric, n_jobs=n_jobs, **kwds)


def _euclidean(X, Y=None, *, Y_norm_squared=None, squared=False, X_norm_squared=None):
    if Y_norm_squared is not None or X_norm_squared is not None:
        return NotImplemented  # scikit-learn checks their shapes
    return metrics.euclidean_distances(X, Y, squared=squared)


def _manhattan(X, Y=None):
    return _pairwise(X, Y, "manhattan")


def _cosine(X, Y=None):
    return _pairwise(X, Y, "cosine")


def _argmin_min(X, Y, *, axis=1, metric="euclidean", metric_kwargs=None):
    parameters = dict(metric_kwargs or {})
    if metric == "euclidean":
        parameters.pop("squared", None)
    if axis not in (0, 1) or not _served(metric, parameters):
        return NotImplemented
    return metrics.pairwise_distances_argmin_min(
        X, Y, axis=axis, metric=metric, metric_kwargs=metric_kwargs
    )


def _argmin(X, Y, **kwargs):
    result = _argmin_min(X, Y, **kwargs)
    return result if result is NotImplemented else result[0]


def _function_replacements():
    """Yield (name in sklearn.metrics.pairwise, replacement).

    pairwise_distances_chunked needs none: it calls pairwise_distances for each chunk.
    """
    for name, ours in [
        ("pairwise_distances", _pairwise),
        ("euclidean_distances", _euclidean),
        ("manhattan_distances", _manhattan),
        ("cosine_distances", _cosine),
        ("pairwise_distances_argmin", _argmin),
        ("pairwise_distances_argmin_min", _argmin_min),
    ]:
        yield name, _substitute(name, ours)


# ---- report --------------------------------------------------------------------------------------


class Report:
    """What was accelerated, what fell back to scikit-learn and why, and the time in each.

    Times include those of operations within: a search that fell back may use distances that did
    not.

    Examples
    --------
    >>> from fastnn.accel import Report
    >>> report = Report()
    >>> report("kneighbors", None, 0.5)
    >>> report("kneighbors", "sparse input", 0.25)
    >>> print(report)
    operation             calls  seconds
    kneighbors                1    0.500  accelerated
    kneighbors                1    0.250  scikit-learn: sparse input
    """

    def __init__(self):
        self._totals = collections.defaultdict(lambda: [0, 0.0])

    def __call__(self, operation, reason, seconds):
        with _lock:
            total = self._totals[operation, reason]
            total[0] += 1
            total[1] += seconds

    def rows(self):
        """Return tuples (operation, reason or None, calls, seconds), the longest first."""
        rows = [(*key, *total) for key, total in self._totals.items()]
        return sorted(rows, key=lambda row: -row[3])

    def __str__(self):
        lines = [f"{'operation':20}  calls  seconds"]
        for operation, reason, calls, seconds in self.rows():
            how = "accelerated" if reason is None else f"scikit-learn: {reason}"
            lines.append(f"{operation:20}  {calls:5}  {seconds:7.3f}  {how}")
        return "\n".join(lines)


# ---- command line --------------------------------------------------------------------------------


def _print_at_exit(report):
    """Print the report when all else has ended, in this process and not in forked ones."""
    process = os.getpid()

    def show():
        if os.getpid() == process:
            print(report, file=sys.stderr)

    atexit.register(show)


def main():
    """Run a program with scikit-learn accelerated: ``python -m fastnn.accel``."""
    parser = argparse.ArgumentParser(
        prog="python -m fastnn.accel",
        usage="%(prog)s [-h] [--report] (PROGRAM | -m MODULE | -c CODE) [ARGS ...]",
        description="Run a Python program with scikit-learn's neighbor searches accelerated.",
    )
    rest = argparse.REMAINDER
    parser.add_argument("--report", action="store_true", help="at the end, say what was done")
    parser.add_argument("-m", nargs=rest, metavar="MODULE", help="run a module or package")
    parser.add_argument("-c", nargs=rest, metavar="CODE", help="run this code")
    parser.add_argument("program", nargs=rest, metavar="PROGRAM", help="a file, folder or zip")
    options = parser.parse_args()
    option = "-m" if options.m is not None else "-c" if options.c is not None else None
    program = options.m or options.c or options.program
    if not program:
        parser.error("PROGRAM is missing")
    if options.report:
        _drop_in.observers.append(report := Report())
        _print_at_exit(report)
    install()
    try:
        _program.run(program[0], program[1:], option)
    except _program.NoProgram as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        sys.exit(error.status)


if __name__ == "__main__":
    # As fastnn.accel itself: the program may import it.
    from fastnn.accel import main

    main()
