"""The border: every kind of input that is taken, every kind that is refused."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn.base

import fastnn
from fastnn import _validation

FUNCTIONS = [lambda X, Y: fastnn.kneighbors(X, Y, 2), lambda X, Y: fastnn.pairwise_distances(X, Y)]
BOTH = pytest.mark.parametrize("function", FUNCTIONS, ids=["kneighbors", "pairwise_distances"])


def assert_equal(results, expected):
    results, expected = (r if isinstance(r, tuple) else (r,) for r in (results, expected))
    for result, other in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, other)


@BOTH
@pytest.mark.parametrize(
    "dtype",
    [
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint16",
        "uint32",
        "uint64",
        "float16",
        ">f4",
        ">f8",
        ">i4",
    ],
)
def test_other_dtypes_are_widened_exactly(rng, function, dtype):
    X, Y = (rng.integers(0, 2, (n, 5)).astype(dtype) for n in (6, 30))
    narrow = np.float32 if dtype in ("float16", ">f4") else np.float64
    assert_equal(function(X, Y), function(X.astype(narrow), Y.astype(narrow)))


def test_native_dtypes_are_not_copied(rng):
    for dtype in (np.float32, np.float64, np.uint8):
        X = np.zeros((3, 2), dtype)
        assert _validation.check_rows(X, "X") is X


def test_narrow_dtypes_become_float32():
    for dtype in (np.float16, np.int8, np.int16, np.uint16):
        assert _validation.check_rows(np.ones((2, 2), dtype), "X").dtype == np.float32
    assert _validation.check_rows(np.ones((2, 2), bool), "X").dtype == np.uint8


@BOTH
def test_mixed_dtypes_meet_where_both_are_exact(rng, function):
    X = rng.integers(0, 256, (6, 4)).astype(np.uint8)
    Y = rng.standard_normal((30, 4))
    assert_equal(function(X, Y), function(X.astype(float), Y))
    Y = Y.astype(np.float32)
    assert_equal(function(X, Y), function(X.astype(np.float32), Y))
    assert_equal(function(X.astype(float), Y), function(X.astype(float), Y.astype(float)))


@BOTH
@pytest.mark.parametrize("kind", ["float64", "Float32", "Int64", "boolean", "mixed", "arrow"])
def test_data_frames(rng, function, kind):
    """Whatever columns scikit-learn's estimators take."""
    values = rng.integers(0, 2, (30, 4))
    frame = pd.DataFrame(values, columns=list("abcd"))
    if kind == "mixed":
        frame = frame.astype({"a": "int8", "b": "Float64", "c": "float32", "d": "Int16"})
    elif kind == "arrow":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed: no columns of its types")
        frame = frame.astype("double[pyarrow]")
    else:
        frame = frame.astype(kind)
    assert_equal(
        function(frame[:6], frame), function(values[:6].astype(float), values.astype(float))
    )
    if kind in ("Float32", "Int64", "boolean"):
        frame.iloc[4, 1] = pd.NA
        with pytest.raises(ValueError, match="got NaN at row 4, column 1"):
            function(frame, frame)
    with pytest.raises(ValueError, match="must be a 2-D array"):
        function(frame["a"], frame)


@BOTH
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_memory_layouts(rng, function, dtype, tmp_path):
    X = rng.integers(0, 200, (8, 6)).astype(dtype)
    Y = rng.integers(0, 200, (40, 6)).astype(dtype)
    expected = function(X, Y)
    on_disk = np.memmap(tmp_path / "Y", dtype=dtype, mode="w+", shape=Y.shape)
    on_disk[:] = Y
    wide = np.zeros((40, 12), dtype)
    wide[:, ::2] = Y
    raw = np.zeros(Y.nbytes + 1, np.uint8)
    unaligned = raw[1:].view(dtype).reshape(Y.shape)
    unaligned[:] = Y
    read_only = Y.copy()
    read_only.flags.writeable = False
    layouts = [np.asfortranarray(Y), wide[:, ::2], Y[::-1][::-1], on_disk, unaligned, read_only]
    for layout in [*layouts, pd.DataFrame(Y), np.ma.masked_array(Y)]:
        assert_equal(function(X, layout), expected)
    if dtype == np.float64:
        assert_equal(function(X.tolist(), Y.tolist()), expected)


@BOTH
@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (np.ones((3, 4), complex), TypeError, "must hold real numbers .* got dtype complex128"),
        (np.array([["a", "b", "c", "d"]]), TypeError, "must hold real numbers .* got dtype <U1"),
        (np.ones((3, 4), object), TypeError, "must hold real numbers .* got dtype object"),
        (np.ones((3, 4), "M8[s]"), TypeError, "must hold real numbers .* got dtype datetime64"),
        (np.ones((3, 4), np.longdouble), TypeError, "must hold real numbers of up to 64 bits"),
        (np.ones(4), ValueError, r"must be a 2-D array .*, got 1-D with shape \(4,\)"),
        (3.0, ValueError, "got 0-D"),
        (np.ones((2, 2, 4)), ValueError, "got 3-D"),
        ([[1.0, 2.0], [1.0]], ValueError, "must be a rectangular array of numbers"),
        (np.ones((0, 4)), ValueError, r"at least one row and one feature, .* \(0, 4\)"),
        (np.ones((3, 0)), ValueError, "at least one row and one feature"),
        (np.full((3, 4), 2**53 + 2), ValueError, "integers of at most 2\\*\\*53 in magnitude"),
        (np.ma.masked_equal(np.eye(4), 1), ValueError, "must have no masked values"),
    ],
    ids=lambda value: None,
)
def test_what_is_refused(function, bad, error, message):
    good = np.ones((5, 4))
    with pytest.raises(error, match=f"^X .*{message}"):
        function(bad, good)
    with pytest.raises(error, match=f"^Y .*{message}"):
        function(good, bad)


@pytest.mark.parametrize("kind", [scipy.sparse.csr_matrix, scipy.sparse.coo_array])
def test_sparse_input_is_refused(kind):
    message = f"must be a dense array, got a sparse {kind.__name__}; use toarray"
    with pytest.raises(TypeError, match=f"^X {message}"):
        fastnn.kneighbors(kind((3, 4)), np.ones((5, 4)))
    with pytest.raises(TypeError, match=f"^Y {message}"):
        fastnn.kneighbors(np.ones((5, 4)), kind((3, 4)))


@BOTH
def test_number_of_features_must_agree(function):
    with pytest.raises(ValueError, match="same number of features, got 3 and 4"):
        function(np.ones((2, 3)), np.ones((2, 4)))


@BOTH
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_one_sample_one_feature(function, dtype):
    one = np.ones((1, 1), dtype)
    assert fastnn.kneighbors(one, one, 1)[0] == 0.0
    assert fastnn.pairwise_distances(one, one) == 0.0


@pytest.mark.parametrize("k", [0, -1])
def test_too_few_neighbors(k):
    with pytest.raises(ValueError, match=f"Expected n_neighbors > 0, got {k}"):
        fastnn.kneighbors([[1.0]], [[1.0]], k)


def test_too_many_neighbors():
    message = "Expected n_neighbors <= n_samples_fit, but n_neighbors = 4, n_samples_fit = 3"
    with pytest.raises(ValueError, match=message):
        fastnn.kneighbors([[1.0]], np.ones((3, 1)), 4)


@pytest.mark.parametrize("k", [1.0, "1", None, [1]])
def test_neighbors_must_be_an_integer(k):
    with pytest.raises(TypeError, match=f"n_neighbors must be an integer, got {type(k).__name__}"):
        fastnn.kneighbors([[1.0]], [[1.0]], k)


def test_numpy_integers_count_as_integers():
    assert fastnn.kneighbors([[1.0]], [[1.0]], np.int32(1), n_jobs=np.int64(1))[1] == 0


@pytest.mark.parametrize("metric", ["braycurtis", "L2", ""])
def test_unknown_metric(metric):
    with pytest.raises(ValueError, match=f"metric must be one of .*'l1'.*, got {metric!r}"):
        fastnn.kneighbors([[1.0]], [[1.0]], 1, metric)


@pytest.mark.parametrize(
    ("metric", "parameters", "message"),
    [
        ("minkowski", {"p": 3}, "must have p = 1, 2 or infinity .* got .* p=3"),
        ("minkowski", {"p": 0.5}, "must have p = 1, 2 or infinity .* got .* p=0.5"),
        ("minkowski", {"p": "2"}, "must have p = 1, 2 or infinity"),
        ("minkowski", {"p": None}, "must have p = 1, 2 or infinity .* got .* p=None"),
        ("minkowski", {"p": [1, 2]}, "must have p = 1, 2 or infinity"),
        ("minkowski", {"metric_params": {"foo": 1}}, "p=2, foo"),
        ("minkowski", {"metric_params": {"metric": "l1"}}, "p=2, metric"),
        ("minkowski", {"metric_params": {"w": [-1.0]}}, "weights that are negative"),
        ("minkowski", {"p": np.inf, "metric_params": {"w": [1.0]}}, "p=inf and such weights"),
        ("l1", {"metric_params": {"w": [1.0]}}, r"'l1' takes no parameters, got .*\['w'\]"),
    ],
)
def test_parameters_of_metrics_that_are_refused(metric, parameters, message):
    for search in (fastnn.kneighbors, fastnn.radius_neighbors):
        with pytest.raises(ValueError, match=message):
            search([[1.0]], [[1.0]], 1, metric, **parameters)


def test_metric_params_must_be_a_dict():
    with pytest.raises(TypeError, match="metric_params must be a dict, got list"):
        fastnn.kneighbors([[1.0]], [[1.0]], 1, metric_params=["w"])


def test_unknown_metric_of_pairwise_distances():
    with pytest.raises(ValueError, match=r"The 'metric' parameter .* must be a str among"):
        fastnn.pairwise_distances([[1.0]], metric="L2")


@pytest.mark.parametrize("metric", [None, 2, ["l2"]])
def test_metric_must_be_a_string(metric):
    with pytest.raises(TypeError, match=f"metric must be a string, got {type(metric).__name__}"):
        fastnn.kneighbors([[1.0]], [[1.0]], 1, metric)


def test_n_jobs():
    with pytest.raises(ValueError, match="n_jobs == 0 has no meaning"):
        fastnn.kneighbors([[1.0]], [[1.0]], 1, n_jobs=0)
    with pytest.raises(TypeError, match="n_jobs must be an integer or None, got float"):
        fastnn.kneighbors([[1.0]], [[1.0]], 1, n_jobs=1.5)


def what_is_drawn(seed):
    """What everything that takes a random_state makes of it."""
    X, y = np.random.default_rng(0).random((60, 4)), np.arange(60) % 3
    linear = fastnn.linear_model.SoftmaxClassifier(max_iter=2, tol=None, random_state=seed())
    network = fastnn.neural_network.MLPClassifier(4, max_iter=2, tol=None, random_state=seed())
    choice = fastnn.model_selection.KNeighborsClassifierCV([1, 3], cv=0.3, random_state=seed())
    resampled = fastnn.model_selection.KNeighborsClassifierCV(
        [1, 3], cv="bootstrap", random_state=seed()
    )
    split = fastnn.model_selection.train_val_test_split(
        X, y, val_size=12, test_size=12, random_state=seed()
    )
    return [
        linear.fit(X, y).coef_,
        network.fit(X, y).coefs_[0],
        choice.fit(X, y).cv_results_["mean_test_score"],
        resampled.fit(X, y).cv_results_["mean_test_score"],
        *split,
        *next(fastnn.model_selection.Bootstrap(2, random_state=seed()).split(X)),
        fastnn.optimize.random_search(np.sum, np.ones(3), step_size=1.0, random_state=seed()).x,
        fastnn.gradcheck.check_gradient(
            lambda x: (np.sum(x**2), 2 * x), np.ones(50), n_checks=5, random_state=seed()
        ).coordinates[0],
    ]


def test_generators_are_random_states():
    of_generators = what_is_drawn(lambda: np.random.default_rng(7))
    for again, other in zip(
        what_is_drawn(lambda: np.random.default_rng(7)), of_generators, strict=True
    ):
        np.testing.assert_array_equal(again, other)
    seed = int(np.random.default_rng(7).integers(2**32))
    for drawn, other in zip(what_is_drawn(lambda: seed), of_generators, strict=True):
        np.testing.assert_array_equal(drawn, other)
    model = fastnn.neural_network.MLPClassifier(
        4, max_iter=1, random_state=np.random.default_rng(1)
    )
    assert sklearn.base.clone(model).random_state is not model.random_state
