"""Child processes under fastnn.accel: FASTNN_ACCEL=1, and what the report says of them."""

import json
import os
import re
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from fastnn import _observation, accel
from fastnn.accel import _report

SEARCH = """
def search(_=None):
    import numpy as np
    from sklearn.neighbors import NearestNeighbors
    X = np.arange(20.0)[:, None]
    NearestNeighbors(n_neighbors=2).fit(X).kneighbors(X)
    return NearestNeighbors.kneighbors.__module__
"""
GRID = """
import numpy as np
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
X, y = np.arange(60.0)[:, None], np.arange(60) % 2
GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [1, 3]}, cv=2, n_jobs=2, refit=False).fit(X, y)
"""
OURS, THEIRS = "fastnn._sklearn.searches", "sklearn.neighbors._base"

python_looks_at_it = pytest.mark.skipif(
    PathFinder.find_spec("fastnn") is None
    or not any(Path(folder, "fastnn_accel.pth").exists() for folder in sys.path),
    reason="fastnn_accel.pth is not installed beside the package",
)


def run(code, *options, variable=None, cwd=None):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FASTNN_ACCEL")}
    if variable is not None:
        environment["FASTNN_ACCEL"] = variable
    result = subprocess.run(
        [sys.executable, *options, "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        cwd=cwd,
    )
    assert result.returncode == 0, result.stderr
    return result


def report_of(code, cwd=None):
    """Return {operation: calls} of those accelerated, and the lines after the table."""
    lines = run(code, "-m", "fastnn.accel", "--report", cwd=cwd).stderr.splitlines()
    rows = [line.split() for line in lines if line.endswith("  accelerated")]
    return {row[0]: int(row[1]) for row in rows}, [line for line in lines if "those of" in line]


# ---- the environment -----------------------------------------------------------------------------


@python_looks_at_it
@pytest.mark.parametrize(
    ("variable", "module"), [("1", OURS), ("0", THEIRS), ("", THEIRS), (None, THEIRS)]
)
def test_the_variable_serves_any_program(variable, module):
    assert run(SEARCH + "print(search())", variable=variable).stdout == f"{module}\n"


@python_looks_at_it
def test_nothing_is_imported_before_it_is_needed():
    code = "import sys; print(sorted({'numpy', 'scipy', 'sklearn'} & set(sys.modules)))"
    assert run(code, variable="1").stdout == "[]\n"
    assert run(code, "-m", "fastnn.accel").stdout == "[]\n"


@python_looks_at_it
@pytest.mark.parametrize(
    "first",
    [
        "import sklearn.neighbors",
        "import sklearn.metrics",
        "import sklearn.decomposition",
        "from sklearn.cluster import DBSCAN",
        "import sklearn.metrics.pairwise, sklearn.manifold",
        "import sklearn",
    ],
)
def test_whatever_is_imported_first(first):
    code = (
        f"{first}\n{SEARCH}\nprint(search())\nimport sys, sklearn.metrics\n"
        "print(hasattr(sklearn.metrics.pairwise_distances, '__wrapped__'))\n"
        "print([f for f in sys.meta_path if type(f).__name__ == 'InstallAfterImport'])"
    )
    assert run(code, variable="1").stdout == f"{OURS}\nTrue\n[]\n"


@python_looks_at_it
def test_an_import_that_fails_inside(tmp_path):
    """The finder goes on, and the next import installs."""
    code = (
        "import sys\n"
        "sys.modules['scipy.sparse'] = None\n"
        "try:\n    import sklearn.neighbors\n"
        "except ImportError:\n    print('failed')\n"
        "del sys.modules['scipy.sparse']\n"
        "for name in [n for n in sys.modules if n.startswith(('sklearn', 'scipy'))]:\n"
        "    del sys.modules[name]\n"
    )
    assert run(code + SEARCH + "print(search())", variable="1").stdout == f"failed\n{OURS}\n"


def test_an_installation_that_fails_does_not_stop_the_program():
    code = (
        "import sys\n"
        "from fastnn.accel import _workers\n"
        "def install():\n    raise OSError('no kernels')\n"
        "sys.meta_path.insert(0, _workers.InstallAfterImport(install))\n"
        + SEARCH
        + "print(search())"
    )
    result = run(code)
    assert result.stdout == f"{THEIRS}\n"
    assert "RuntimeWarning: FASTNN_ACCEL is set, but scikit-learn is not accelerated" in (
        result.stderr
    )


def test_install_for_workers(monkeypatch):
    for before in (None, "0"):
        if before is None:
            monkeypatch.delenv("FASTNN_ACCEL", raising=False)
        else:
            monkeypatch.setenv("FASTNN_ACCEL", before)
        accel.install()
        assert os.environ.get("FASTNN_ACCEL") == before
        accel.install(workers=True)
        accel.install(workers=True)
        assert os.environ["FASTNN_ACCEL"] == "1"
        accel.uninstall()
        assert os.environ.get("FASTNN_ACCEL") == before


def test_is_installed():
    assert not accel.is_installed()
    with accel.enabled():
        accel.install()
        assert accel.is_installed()
    assert accel.is_installed()
    accel.uninstall()
    assert not accel.is_installed()


# ---- children ------------------------------------------------------------------------------------


@python_looks_at_it
def test_workers_of_joblib_are_served_and_reported(tmp_path):
    calls, others = report_of(GRID, tmp_path)
    assert calls == {"kneighbors": 4}, "two candidates, two folds"
    assert re.fullmatch(r"with those of [12] other process(es)?", *others)


@python_looks_at_it
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing(tmp_path, method):
    if method != "spawn" and not hasattr(os, "fork"):
        pytest.skip("this platform has no fork")
    (tmp_path / "program.py").write_text(
        "import multiprocessing\n"
        + SEARCH
        + "if __name__ == '__main__':\n"
        + "    search()\n" * (method == "fork")
        + f"    context = multiprocessing.get_context({method!r})\n"
        "    pool = context.Pool(1)\n"
        "    print(*pool.map(search, [1, 2]))\n"
        "    pool.close()\n"
        "    pool.join()\n"
    )
    result = subprocess.run(
        [sys.executable, "-m", "fastnn.accel", "--report", "program.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.stdout == f"{OURS} {OURS}\n", result.stderr
    row = next(line.split() for line in result.stderr.splitlines() if "accelerated" in line)
    assert row[1] == ("3" if method == "fork" else "2"), "the parent's are counted once"
    assert "with those of 1 other process\n" in result.stderr


@python_looks_at_it
@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent the POSIX way")
def test_a_child_that_is_killed_is_not_passed_over(tmp_path):
    child = SEARCH + "search()\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])"
    calls, others = report_of(code, tmp_path)
    assert calls == {}
    assert others == ["without those of 1 that left none"]


@python_looks_at_it
@pytest.mark.parametrize(
    "trouble",
    [
        "shutil.rmtree(folder)",
        "shutil.rmtree(folder); pathlib.Path(folder).touch()",
        "[path.write_text('[[1, ') for path in pathlib.Path(folder).glob('*.json')]",
    ],
    ids=["gone", "a file", "half written"],
)
def test_a_report_that_cannot_be_made_harms_nobody(tmp_path, trouble):
    """Children search on whatever has become of the folder."""
    child = SEARCH + "search(); print('searched')"
    code = (
        SEARCH
        + f"search()\nimport os, pathlib, shutil, subprocess, sys\nchild = {child!r}\n"
        + "folder = os.environ['FASTNN_ACCEL_REPORT']\n"
        + "subprocess.run([sys.executable, '-c', child], check=True)\n"
        + f"{trouble}\n"
        + "subprocess.run([sys.executable, '-c', child], check=True)\n"
    )
    calls, others = report_of(code, tmp_path)
    assert calls["kneighbors"] >= 1
    assert not any("Error" in line for line in others), others


def test_a_report_without_a_temporary_folder(monkeypatch, capsys):
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_report.tempfile, "mkdtemp", fail)
    monkeypatch.setattr(_report.atexit, "register", lambda *call: None)
    monkeypatch.delenv("FASTNN_ACCEL_REPORT", raising=False)
    report = _report._ReportOfParent()
    report("kneighbors", None, 0.5)
    report._print()
    lines = capsys.readouterr().err.splitlines()
    assert lines[1].endswith("accelerated")
    assert lines[2:] == ["without those of other processes: [Errno 28] No space left on device"]
    assert "FASTNN_ACCEL_REPORT" not in os.environ


def test_what_an_observer_raises_stays_outside_the_program(caplog):
    def fail(operation, reason, seconds):
        raise OSError("no room")

    told = []
    observers = [fail, lambda *call: told.append(call)]
    _observation.observers.extend(observers)
    try:
        for _ in range(2):
            with _observation.observe("kneighbors"):
                pass
        assert fail not in _observation.observers
    finally:
        _observation.observers[:] = [o for o in _observation.observers if o not in observers]
    assert len(told) == 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_report_without_children(tmp_path):
    assert report_of(SEARCH + "search()", tmp_path) == ({"kneighbors": 1}, [])


def test_figures_of_a_process_are_written_once_it_ends(tmp_path, monkeypatch):
    report = _report._ReportOfChild(tmp_path)
    assert list(tmp_path.iterdir()) == []
    report("kneighbors", "a reason", 0.25)
    report("kneighbors", "a reason", 0.25)
    assert [path.suffix for path in tmp_path.iterdir()] == [".begun"]
    report._leave(os.getpid())
    (path,) = tmp_path.iterdir()
    assert json.loads(path.read_text()) == [["kneighbors", "a reason", 2, 0.5]]
    report._leave(os.getpid() + 1)


# ---- what a user can see -------------------------------------------------------------------------


def test_a_function_imported_in_between_is_scikit_learns_afterwards(rng):
    X = rng.random((6, 3))
    with accel.enabled():
        from sklearn.metrics import pairwise_distances as kept
    report = accel.Report()
    _observation.observers.append(report)
    try:
        kept(X, metric="l1")
    finally:
        _observation.observers.remove(report)
    assert report.rows() == []


def test_whose_method_it_is():
    from sklearn.neighbors import NearestNeighbors

    theirs = NearestNeighbors.kneighbors
    with accel.enabled():
        ours = NearestNeighbors.kneighbors
    assert (theirs.__module__, ours.__module__) == (THEIRS, OURS)
    assert (ours.__name__, ours.__qualname__) == (theirs.__name__, theirs.__qualname__)
    paragraphs = ours.__doc__.split("\n\n")
    what_is_new = [text for text in paragraphs if text.lstrip().startswith("where : ")]
    assert [text for text in paragraphs if text not in what_is_new] == theirs.__doc__.split("\n\n")
    assert len(what_is_new) == 1


def test_reports_are_readable(rng):
    from sklearn.neighbors import NearestNeighbors

    def mean_difference(x, y):
        return abs(x - y).mean()

    report = accel.Report()
    X = rng.random((20, 3))
    with accel.enabled(report):
        NearestNeighbors(metric=mean_difference).fit(X).kneighbors(X)
        NearestNeighbors().fit(X).kneighbors(X)
    assert repr(report) == str(report)
    assert len(report.rows()) == 2
    ((operation, reason, calls, _),) = report.fallbacks()
    assert (operation, calls) == ("kneighbors", 1)
    assert "mean_difference" in reason
    assert "0x" not in reason
