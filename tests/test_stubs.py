"""The stubs say what the compiled modules have: mypy's stubtest compares the two."""

import os
import pkgutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import fastnn._core

ALLOWLIST = Path(__file__).with_name("stubtest_allowlist.txt")
MODULES = [module.name for module in pkgutil.iter_modules(fastnn._core.__path__)]


def test_every_compiled_module_has_a_stub():
    folder = Path(fastnn._core.__path__[0])
    assert {path.stem for path in folder.glob("*.pyi")} == set(MODULES)
    assert (folder.parent / "py.typed").exists()


def test_stubs_agree_with_the_modules(tmp_path):
    pytest.importorskip("mypy", reason="mypy is not installed: nothing compares the stubs")
    environment = dict(os.environ)
    root = Path(fastnn.__file__).parent.parent
    if root != Path(sysconfig.get_path("platlib")):  # an editable install, which mypy cannot see
        environment["MYPYPATH"] = str(root)
    result = subprocess.run(
        [
            *(sys.executable, "-m", "mypy.stubtest"),
            *(f"fastnn._core.{module}" for module in MODULES),
            *("--allowlist", str(ALLOWLIST), "--ignore-unused-allowlist"),
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
