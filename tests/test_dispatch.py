"""Instruction sets: found, chosen, refused, and equal in what they find."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn._search.searcher import Searcher


def run(code, **environment):
    env = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)


def test_available_isas_end_with_the_baseline():
    isas = fastnn.available_isas()
    assert isas[-1] in ("baseline", "neon")
    assert len(set(isas)) == len(isas)


def test_set_and_get():
    before = fastnn.get_isa()
    try:
        for isa in fastnn.available_isas():
            fastnn.set_isa(isa)
            assert fastnn.get_isa() == isa
    finally:
        fastnn.set_isa(before)


def test_unknown_name_is_an_error():
    with pytest.raises(ValueError, match="isa='mmx' is not an instruction set; available: "):
        fastnn.set_isa("mmx")
    with pytest.raises(TypeError, match="isa must be a string, got int"):
        fastnn.set_isa(2)


def test_lacking_isa_is_an_error():
    known = {"avx512_vnni", "avx512", "avx2_vnni", "avx2", "neon", "baseline"}
    lacking = known - set(fastnn.available_isas())
    for isa in lacking:
        with pytest.raises(ValueError, match=f"isa='{isa}' is not available on this CPU"):
            fastnn.set_isa(isa)


def test_environment_variable_is_read_at_import():
    name = fastnn.available_isas()[-1]
    result = run("import fastnn; print(fastnn.get_isa())", FASTNN_ISA=name)
    assert result.stdout.strip() == name
    result = run("import fastnn", FASTNN_ISA="mmx")
    assert result.returncode == 1
    assert "FASTNN_ISA='mmx' is not an instruction set" in result.stderr
    assert run("import fastnn", FASTNN_ISA="").returncode == 0


@pytest.mark.parametrize("metric", ["l1", "l2"])
def test_all_isas_find_the_same(rng, metric):
    X, Y = rng.standard_normal((50, 37)), rng.standard_normal((800, 37))
    before = fastnn.get_isa()
    results = []
    try:
        for isa in fastnn.available_isas():
            fastnn.set_isa(isa)
            results.append(fastnn.kneighbors(X, Y, 9, metric))
    finally:
        fastnn.set_isa(before)
    for distances, indices in results[1:]:
        np.testing.assert_array_equal(indices, results[0][1])
        np.testing.assert_array_equal(distances, results[0][0])


@pytest.mark.parametrize("kind", ["brute", "bounded", "kd_tree"])
def test_an_index_outlives_a_change(rng, kind):
    """What it has packed has the shapes of one instruction set."""
    X, Y = (rng.standard_normal((n, 5)) @ rng.standard_normal((5, 70)) for n in (200, 900))
    index, before = Searcher(Y, "l2", kind), fastnn.get_isa()
    expected = Searcher(Y, "l2", "brute").kneighbors(X, 9, 2)
    try:
        for isa in (*fastnn.available_isas(), *fastnn.available_isas()[::-1]):
            fastnn.set_isa(isa)
            found = index.kneighbors(X, 9, 2)
            np.testing.assert_array_equal(found.indices, expected.indices)
            np.testing.assert_array_equal(found.distances, expected.distances)
    finally:
        fastnn.set_isa(before)


def test_import_is_cheap_and_lazy():
    code = "import sys, fastnn; print('numpy' in sys.modules, 'sklearn' in sys.modules)"
    assert run(code).stdout.split() == ["False", "False"]


def test_public_names():
    for name in fastnn.__all__:
        assert getattr(fastnn, name) is not None
    assert set(fastnn.__all__) <= set(dir(fastnn))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        fastnn.nothing  # noqa: B018


def test_a_tree_that_is_not_built_says_so(tmp_path):
    source = Path(fastnn.__file__).parent
    copy = tmp_path / "fastnn"
    (copy / "_core").mkdir(parents=True)
    for name in ("__init__.py", "_version.py", "_core/__init__.py"):
        (copy / name).write_text((source / name).read_text())
    # Without site-packages, which may know of the tree that is tested.
    command = [sys.executable, "-S", "-c", "import fastnn"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    last = result.stderr.splitlines()[-1]
    assert last.startswith("ImportError: the compiled modules of fastnn are not in")
    assert "pip install -e ." in last
