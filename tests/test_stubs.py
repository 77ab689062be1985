"""The stubs say what the modules have: mypy's stubtest compares the two."""

import os
import pkgutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import fastnn._core

ALLOWLIST = Path(__file__).with_name("stubtest_allowlist.txt")
MODULES = {module.name for module in pkgutil.iter_modules(fastnn._core.__path__)}
COMPILED = sorted(MODULES - {"_cyutility"})  # that is Cython's own
PUBLIC = [name for name, module in fastnn._LAZY.items() if module is None]

# What a user's type checker should see, and refuse.
PROGRAM = """
import numpy as np
import fastnn
from fastnn.neighbors import KNeighborsClassifier
from fastnn.circuit import Unit

X = np.zeros((3, 2))
reveal_type(fastnn.kneighbors(X, X))
reveal_type(fastnn.losses.svm_loss(X, [0, 1, 0]))
reveal_type(KNeighborsClassifier(5, weights="distance").fit(X, [0, 1, 0]))
reveal_type(Unit(1.0) + 2)
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
    assert {path.stem for path in folder.glob("*.pyi")} == set(COMPILED)
    names = {path.stem for path in folder.parent.glob("*.pyi")}
    names |= {path.parent.name for path in folder.parent.glob("*/__init__.pyi")}
    assert names == {"__init__", *PUBLIC}
    assert (folder.parent / "py.typed").exists()


def test_stubs_agree_with_the_modules(tmp_path):
    pytest.importorskip("mypy", reason="mypy is not installed: nothing compares the stubs")
    # Of packages the public module alone: what is private in them has no stubs.
    modules = [f"fastnn._core.{name}" for name in COMPILED]
    modules += [
        f"fastnn.{name}" for name in PUBLIC if not (Path(fastnn.__file__).parent / name).is_dir()
    ]
    result = mypy(
        tmp_path,
        "mypy.stubtest",
        *modules,
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
    wanted += ["fastnn.neighbors.KNeighborsClassifier", "fastnn._core._units.Unit"]
    for note, start in zip(notes, wanted, strict=True):
        assert note.startswith(start)
    errors = [line for line in lines if "error:" in line]
    assert [line.split(":")[1] for line in errors] == ["12", "13", "14"]
    assert all("incompatible type" in line for line in errors)
