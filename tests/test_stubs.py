"""Types: mypy's stubtest compares stubs with modules; users' programs see the types of all."""

import os
import pkgutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import fastnn._core

ALLOWLIST = Path(__file__).with_name("stubtest_allowlist.txt")
COMPILED = sorted(
    module.name
    for module in pkgutil.walk_packages(fastnn._core.__path__, "fastnn._core.")
    if not module.ispkg and module.name != "fastnn._core._cyutility"  # that is Cython's own
)

# What a user's type checker should see, and refuse.
PROGRAM = """
import numpy as np
import fastnn
from fastnn.neighbors import KNeighborsClassifier
from fastnn.circuit import Unit
from fastnn.linear_model import SoftmaxClassifier

X = np.zeros((3, 2))
reveal_type(fastnn.kneighbors(X, X))
reveal_type(fastnn.losses.svm_loss(X, [0, 1, 0]))
reveal_type(KNeighborsClassifier(5, weights="distance").fit(X, [0, 1, 0]))
reveal_type(Unit(1.0) + 2)
reveal_type(SoftmaxClassifier().fit(X, [0, 1, 0]))
reveal_type(SoftmaxClassifier().coef_)
KNeighborsClassifier(n_neighbors="five")
fastnn.linear_model.SoftmaxClassifier(solver="best")
fastnn.kneighbors(X, X, "l1")
"""


def mypy(tmp_path, *arguments):
    environment = dict(os.environ)
    root = Path(fastnn.__file__).parent.parent
    if root != Path(sysconfig.get_path("platlib")):  # an editable install, which mypy cannot see
        environment["MYPYPATH"] = str(root)
    (tmp_path / "mypy.ini").write_text("[mypy]\nignore_missing_imports = True\n")
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_every_module_has_a_stub():
    folder = Path(fastnn._core.__path__[0])
    stubs = [path.relative_to(folder).with_suffix("") for path in folder.rglob("*.pyi")]
    assert sorted(".".join(["fastnn", "_core", *path.parts]) for path in stubs) == COMPILED
    assert (folder.parent / "py.typed").exists()


def test_stubs_agree_with_the_modules(tmp_path):
    pytest.importorskip("mypy", reason="mypy is not installed: nothing compares the stubs")
    result = mypy(
        tmp_path,
        "mypy.stubtest",
        *COMPILED,
        "fastnn.neighbors._estimators",
        *("--mypy-config-file", "mypy.ini"),
        *("--allowlist", str(ALLOWLIST), "--ignore-unused-allowlist"),
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_what_a_type_checker_sees(tmp_path):
    pytest.importorskip("mypy", reason="mypy is not installed: nothing reads the stubs")
    (tmp_path / "program.py").write_text(PROGRAM)
    result = mypy(tmp_path, "mypy", "--strict", "--follow-imports=silent", "program.py")
    lines = result.stdout.splitlines()
    notes = [line.split('"')[1] for line in lines if "Revealed type" in line]
    wanted = ["tuple[numpy.ndarray", "tuple[float, numpy.ndarray"]
    wanted += ["fastnn.neighbors._estimators.KNeighborsClassifier"]
    wanted += ["fastnn._core.circuit._units.Unit"]
    wanted += ["fastnn.linear_model.SoftmaxClassifier", "numpy.ndarray"]
    for note, start in zip(notes, wanted, strict=True):
        assert note.startswith(start)
    errors = [line for line in lines if "error:" in line]
    assert [line.split(":")[1] for line in errors] == ["15", "16", "17"]
    assert all("incompatible type" in line for line in errors)
