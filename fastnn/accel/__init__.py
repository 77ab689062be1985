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

Other processes are served where the environment variable FASTNN_ACCEL is "1" when they start, as
``python -m fastnn.accel`` and ``install(workers=True)`` set it for their children: a file that is
installed beside the package (fastnn_accel.pth) has Python look at it.
"""

import contextlib
import os
import threading

from .._observation import observers
from ._report import Report
from ._workers import VARIABLE

__all__ = ["Report", "enabled", "install", "is_installed", "uninstall"]

_lock = threading.RLock()
# Who wants the kernels: install(), and so many `with enabled()` blocks.
_wanted_always = False
_wanted_in_blocks = 0
# What the environment held before install(workers=True) changed it, in a list; None: it did not.
_variable_before = None


def install(*, workers: bool = False) -> None:
    """Put the kernels in the place of scikit-learn's searches, in this process.

    Once or many times is the same; `uninstall` undoes it.

    Parameters
    ----------
    workers : bool, default=False
        Also in processes that are started from now on, such as joblib's workers.

    Examples
    --------
    >>> import fastnn.accel
    >>> from sklearn.neighbors import NearestNeighbors
    >>> fastnn.accel.install()
    >>> NearestNeighbors(n_neighbors=1).fit([[0.0], [1.0]]).kneighbors([[0.9]])[1]
    array([[1]])
    >>> fastnn.accel.uninstall()
    """
    global _wanted_always, _variable_before
    with _lock:
        _wanted_always = True
        _replace_or_restore()
        if workers and _variable_before is None:
            _variable_before = [os.environ.get(VARIABLE)]
            os.environ[VARIABLE] = "1"


def uninstall() -> None:
    """Undo `install`: scikit-learn is as it was. Does nothing where nothing is installed.

    Blocks of `enabled` that are still open stay accelerated, and so do processes that have started.

    Examples
    --------
    >>> import fastnn.accel
    >>> fastnn.accel.install()
    >>> fastnn.accel.uninstall()
    """
    global _wanted_always, _variable_before
    with _lock:
        _wanted_always = False
        _replace_or_restore()
        if _variable_before is not None:
            before, _variable_before = _variable_before[0], None
            if before is None:
                os.environ.pop(VARIABLE, None)
            else:
                os.environ[VARIABLE] = before


def is_installed() -> bool:
    """Return whether the kernels are in the place of scikit-learn's searches, in this process.

    Examples
    --------
    >>> import fastnn.accel
    >>> with fastnn.accel.enabled():
    ...     fastnn.accel.is_installed()
    True
    >>> fastnn.accel.is_installed()
    False
    """
    return _wanted_always or _wanted_in_blocks > 0


@contextlib.contextmanager
def enabled(report: Report | None = None) -> contextlib.AbstractContextManager[None]:
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
        observers.append(report)
    try:
        yield
    finally:
        if report is not None:
            observers.remove(report)
        with _lock:
            _wanted_in_blocks -= 1
            _replace_or_restore()


def _replace_or_restore():
    """Make scikit-learn what is wanted, if it is not."""
    from . import _replacements  # scikit-learn, which takes its time

    if is_installed():
        _replacements.replace()
    else:
        _replacements.restore()
