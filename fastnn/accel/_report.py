"""What was accelerated and what was not, in this process and, by way of files, in its children."""

import atexit
import collections
import contextlib
import json
import os
import shutil
import sys
import tempfile
import threading
from pathlib import Path

from .._observation import observers

# Names the folder where child processes leave their figures.
FOLDER_VARIABLE = "FASTNN_ACCEL_REPORT"


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
    >>> report
    operation             calls  seconds
    kneighbors                1    0.500  accelerated
    kneighbors                1    0.250  scikit-learn: sparse input
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals = collections.defaultdict(lambda: [0, 0.0])

    def __call__(self, operation: str, reason: str | None, seconds: float) -> None:
        """Note a call of an operation that took so long; `reason` is None if it was accelerated."""
        self._add(operation, reason, 1, seconds)

    def _add(self, operation, reason, calls, seconds):
        with self._lock:
            total = self._totals[operation, reason]
            total[0] += calls
            total[1] += seconds

    def rows(self) -> list[tuple[str, str | None, int, float]]:
        """Return tuples (operation, reason or None, calls, seconds), the longest first."""
        with self._lock:
            rows = [(*key, *total) for key, total in self._totals.items()]
        return sorted(rows, key=lambda row: -row[3])

    def fallbacks(self) -> list[tuple[str, str | None, int, float]]:
        """Return the rows that were left to scikit-learn."""
        return [row for row in self.rows() if row[1] is not None]

    def __repr__(self):
        lines = [f"{'operation':20}  calls  seconds"]
        for operation, reason, calls, seconds in self.rows():
            how = "accelerated" if reason is None else f"scikit-learn: {reason}"
            lines.append(f"{operation:20}  {calls:5}  {seconds:7.3f}  {how}")
        return "\n".join(lines)


# ---- with child processes ------------------------------------------------------------------------
# What cannot be written or read is dropped, and counted where the report is printed: a program does
# not fail because somebody looks at it.


class _ReportOfChild(Report):
    """Leaves its figures in a folder when the process ends. A forked child begins anew."""

    def __init__(self, folder):
        super().__init__()
        self._folder, self._process = Path(folder), None

    def __call__(self, operation, reason, seconds):
        if self._process != os.getpid():
            self._begin()
        super().__call__(operation, reason, seconds)

    def _begin(self):
        # Not before the first call: multiprocessing's children forget what was to be done at
        # their end when they begin.
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._totals.clear()
        self._sign = self._folder / f"{self._process}.begun"
        with contextlib.suppress(OSError):
            self._sign.touch()
        atexit.register(self._leave, self._process)
        if util := sys.modules.get("multiprocessing.util"):
            util.Finalize(None, self._leave, (self._process,), exitpriority=0)

    def _leave(self, process):
        if process != os.getpid():
            return
        with contextlib.suppress(OSError):
            draft = self._folder / f"{process}.draft"
            draft.write_text(json.dumps(self.rows()))
            draft.replace(self._folder / f"{process}.json")
            self._sign.unlink(missing_ok=True)


class _ReportOfParent(_ReportOfChild):
    """Keeps the figures of its own process, and prints them with those of others at the end."""

    def __init__(self):
        self._parent, self._why_alone = os.getpid(), None
        try:
            folder = tempfile.mkdtemp(prefix="fastnn-")
        except OSError as error:
            folder, self._why_alone = os.devnull, error
        else:
            os.environ[FOLDER_VARIABLE] = folder
        super().__init__(folder)
        # First to be registered, last to run: after joblib's workers have ended.
        atexit.register(self._print)

    def _begin(self):
        if os.getpid() == self._parent:
            self._process = self._parent
        else:
            super()._begin()

    def _print(self):
        if os.getpid() != self._parent or sys.stderr is None:
            return
        others, lost = 0, len(list(self._folder.glob("*.begun")))
        for path in self._folder.glob("*.json"):
            try:
                rows = json.loads(path.read_text())
            except (OSError, ValueError):
                lost += 1
                continue
            others += 1
            for row in rows:
                self._add(*row)
        shutil.rmtree(self._folder, ignore_errors=True)
        with contextlib.suppress(OSError, ValueError):  # nobody reads
            print(self, file=sys.stderr)
            if others:
                print(f"with those of {others} other process{'es' * (others > 1)}", file=sys.stderr)
            if lost:
                print(f"without those of {lost} that left none", file=sys.stderr)
            if self._why_alone:
                print(f"without those of other processes: {self._why_alone}", file=sys.stderr)


def report_to_parent():
    """Have this process leave its figures where the one that was asked for a report wants them."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        observers.append(_ReportOfChild(folder))


def print_at_exit():
    """Print a report of this process and its children when all else has ended."""
    observers.append(_ReportOfParent())
