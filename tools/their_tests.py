"""Run other packages' own tests with fastnn in the place of scikit-learn's neighbor searches.

    python tools/their_tests.py classes|accel|none PACKAGE [FOLDER] [pytest's options]

"classes": the estimators and functions of fastnn.neighbors, fastnn.neural_network and fastnn.impute
replace those of that name in scikit-learn, under its tests of them. "accel": fastnn.accel is
installed, under the tests of what uses neighbors or distances. "none": scikit-learn alone, to
compare.

PACKAGE is one of those in TESTS, and has to be installed. Its tests are those that it is installed
with, or those in FOLDER; scikit-learn's are for float64 and float32. What is deselected stands in
DESELECTED, with its reason.

The file is a plugin of pytest, too, so that pytest-xdist's workers do as their parent.
"""

import importlib
import os
import sys
from pathlib import Path

# Read when scikit-learn's tests are collected.
os.environ["SKLEARN_RUN_FLOAT32_TESTS"] = "1"

import pytest
import sklearn
import sklearn.impute
import sklearn.neighbors
import sklearn.neural_network

import fastnn.accel
import fastnn.impute
import fastnn.neighbors
import fastnn.neural_network

NEIGHBORS = (
    "neighbors/tests/test_neighbors.py",
    "neighbors/tests/test_lof.py",
    "neighbors/tests/test_graph.py",
    "neighbors/tests/test_neighbors_pipeline.py",
)
CLASSES = (*NEIGHBORS, "neural_network/tests/test_mlp.py", "impute/tests/test_knn.py")
ACCEL = (
    *NEIGHBORS,
    "metrics/tests/test_pairwise.py",
    "manifold/tests/test_isomap.py",
    "manifold/tests/test_locally_linear.py",
    "manifold/tests/test_spectral_embedding.py",
    "manifold/tests/test_t_sne.py",
    "cluster/tests/test_birch.py",
    "cluster/tests/test_dbscan.py",
    "cluster/tests/test_mean_shift.py",
    "cluster/tests/test_optics.py",
    "cluster/tests/test_spectral.py",
    "semi_supervised/tests/test_label_propagation.py",
    "impute/tests/test_knn.py",
    "feature_selection/tests/test_mutual_info.py",
)
TESTS = {
    "sklearn": ACCEL,
    "imblearn": ("over_sampling", "under_sampling", "combine", "ensemble", "metrics", "tests"),
    # Beside its detectors by neighbors: those that build upon them.
    "pyod": tuple(
        f"test_{name}.py"
        for name in ("abod", "cblof", "cof", "feature_bagging", "knn", "lof", "lscp", "sod")
    ),
}
# Modes, the beginning of a test's name, and why fastnn does not do what it asserts.
DESELECTED = (
    (
        ("classes", "accel"),
        "neighbors/tests/test_neighbors.py::test_auto_algorithm[X3-euclidean-None-kd_tree]",
        "asserts that algorithm='auto' builds a k-d tree; ours decides for the kernels",
    ),
    (
        ("accel",),
        "manifold/tests/test_t_sne.py::test_tsne_with_different_distance_metrics"
        "[barnes_hut-cosine-cosine_distances]",
        "compares embeddings of float32 data, which amplify rounding, from distances of the search "
        "and of the matrix: ours are float64 and float32",
    ),
)
_MLP = "neural_network/tests/test_mlp.py::"
_PRIVATE = "sets or reads private attributes of scikit-learn's networks"
DESELECTED += tuple(
    (("classes",), _MLP + name, reason)
    for name, reason in (
        ("test_fit", _PRIVATE),
        ("test_gradient", _PRIVATE),
        ("test_learning_rate_warmstart", _PRIVATE),
        ("test_adaptive_learning_rate", _PRIVATE),
        ("test_n_iter_no_change", _PRIVATE),
        ("test_verbose_sgd", "asserts printed lines; ours show a progress bar"),
        ("test_sparse_matrices", "rows are dense"),
        ("test_nonfinite_params", "ours warn, and keep the last weights that were finite"),
        ("test_preserve_feature_names[MLPClassifier]", "ours need rows of two classes"),
        (
            "test_early_stopping_stratified",
            "a class of one row is no error: then the rows set aside are drawn at random",
        ),
        (
            "test_predict_proba_multilabel",
            "asserts that logarithms tie where probabilities round to 1; ours are exact there",
        ),
    )
)


MODE = "FASTNN_SUITE_MODE"  # set for the plugin, also in workers


def deselected():
    return [(name, reason) for modes, name, reason in DESELECTED if os.environ[MODE] in modes]


def pytest_report_header():
    lines = [f"scikit-learn {sklearn.__version__}, {os.environ[MODE]}"]
    return lines + [f"deselected: {name}: {reason}" for name, reason in deselected()]


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests():
    # Before anything takes a name from scikit-learn.
    if os.environ[MODE] == "classes":
        for theirs, ours in (
            (sklearn.neighbors, fastnn.neighbors),
            (sklearn.neural_network, fastnn.neural_network),
            (sklearn.impute, fastnn.impute),
        ):
            for name in ours.__all__:
                if hasattr(theirs, name):
                    setattr(theirs, name, getattr(ours, name))
    if os.environ[MODE] == "accel":
        fastnn.accel.install()


def pytest_collection_modifyitems(config, items):
    names = [name for name, _ in deselected()]
    chosen = [item for item in items if any(name in item.nodeid for name in names)]
    config.hook.pytest_deselected(items=chosen)
    items[:] = [item for item in items if item not in chosen]


def main():
    modes = ("classes", "accel", "none")
    if len(sys.argv) < 3 or sys.argv[1] not in modes or sys.argv[2] not in TESTS:
        sys.exit(__doc__)
    os.environ[MODE], package, *options = sys.argv[1:]
    here, root = Path(__file__).resolve(), Path(importlib.import_module(package).__path__[0])
    sys.path.insert(0, str(here.parent))
    if options and Path(options[0]).is_dir():
        root = Path(options.pop(0)).resolve()
    files = CLASSES if os.environ[MODE] == "classes" else TESTS[package]
    return pytest.main(
        [
            *(str(root / name) for name in files),
            *("-W", "ignore", "-c", os.devnull, "-p", "no:cacheprovider", "-p", here.stem),
            *(f"--rootdir={root}", f"--confcutdir={root}"),
            *options,
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
