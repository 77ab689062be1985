"""Losses of scores, of linear classifiers, on planes, and the rectifier."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import fastnn
import oracles
from fastnn.losses import (
    linear_loss,
    losses_on_plane,
    relu,
    relu_backward,
    softmax_loss,
    svm_loss,
)

LOSSES = {"svm": svm_loss, "softmax": softmax_loss}
# Around the widths of vectors and of strips.
LENGTHS = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 97)
TOLERANCE = {np.float32: 2e-6, np.float64: 1e-14}
names_of_losses = pytest.mark.parametrize("loss", LOSSES)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def as_numbers(dtype):
    return {"uint8": np.uint8, "float32": np.float32, "float64": np.float64}[dtype]


# ---- of scores -----------------------------------------------------------------------------------


def assert_loss_of_scores(scores, y, loss, tolerance, sample_weight=None):
    value, dscores = LOSSES[loss](scores, y, sample_weight=sample_weight)
    losses, derivatives = oracles.losses_of_scores(scores, y, loss)
    weights = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight)
    weights = weights / weights.sum()
    np.testing.assert_allclose(value, float(weights @ losses), rtol=tolerance)
    expected = (weights[:, None] * derivatives).astype(np.float64)
    np.testing.assert_allclose(dscores, expected, atol=tolerance * np.abs(weights).max())
    assert dscores.dtype == scores.dtype


@names_of_losses
@dtypes
@pytest.mark.parametrize("n_classes", [*LENGTHS, 1000])
def test_losses_of_scores_equal_the_oracle(loss, dtype, n_classes, rng, isa):
    for n in (1, 2, 5, 8, 33):
        scores = (5 * rng.standard_normal((n, n_classes))).astype(dtype)
        y = rng.integers(0, n_classes, n)
        assert_loss_of_scores(scores, y, loss, TOLERANCE[dtype])
        assert_loss_of_scores(scores, y, loss, TOLERANCE[dtype], rng.random(n) + 0.1)


@names_of_losses
@given(
    scores=arrays.arrays(
        np.float64, st.tuples(st.integers(1, 12), st.integers(1, 40)), elements=st.floats(-1e6, 1e6)
    ),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_losses_of_any_scores(loss, scores, seed):
    y = np.random.default_rng(seed).integers(0, scores.shape[1], len(scores))
    # A difference of scores is as uncertain as the larger one.
    value, dscores = LOSSES[loss](scores, y)
    losses, derivatives = oracles.losses_of_scores(scores, y, loss)
    slack = 1e-15 * np.abs(scores).max() * scores.shape[1]
    np.testing.assert_allclose(value, float(losses.mean()), rtol=1e-14, atol=slack)
    if loss == "softmax":
        expected = derivatives.astype(np.float64) / len(y)
        np.testing.assert_allclose(dscores, expected, rtol=0, atol=1e-14 + slack)


@dtypes
def test_softmax_of_scores_of_any_size(dtype, isa):
    largest = float(np.finfo(dtype).max)
    scores = np.array(
        [
            [largest, -largest, 0.0],
            [-largest, largest, 0.0],
            [1e30, 1e30, 1e30],
            [-1e30, -1e30, -1e30],
            [80.0, -80.0, 0.0],
            [1e-30, 0.0, -1e-30],
        ],
        dtype,
    )
    y = np.array([0, 1, 2, 0, 0, 1])
    value, dscores = softmax_loss(scores, y)
    assert np.isfinite(dscores).all()
    losses, derivatives = oracles.losses_of_scores(scores, y, "softmax", dtype=np.longdouble)
    np.testing.assert_allclose(value, float(losses.mean()), rtol=TOLERANCE[dtype])
    np.testing.assert_allclose(6 * dscores, derivatives.astype(float), atol=TOLERANCE[dtype])
    assert softmax_loss(np.array([[1.0, -largest]], dtype), [0])[0] == 0.0
    # The largest loss that there is: representable in the float that is returned, or infinite.
    wrong = softmax_loss(np.array([[largest, 0.0]], dtype), [1])[0]
    assert wrong == largest


@dtypes
def test_derivatives_sum_to_zero(dtype, rng):
    scores = rng.standard_normal((50, 10)).astype(dtype)
    for loss in LOSSES.values():
        sums = loss(scores, rng.integers(0, 10, 50))[1].sum(axis=1)
        np.testing.assert_allclose(sums, 0, atol=TOLERANCE[dtype])


def test_subgradient_at_the_margin_is_zero(isa):
    value, dscores = svm_loss([[2.0, 1.0, 0.5]], [0])
    assert value == 0.0
    np.testing.assert_array_equal(dscores, 0.0)
    assert svm_loss([[2.0, 1.0, 0.5]], [0], margin=2.0)[0] == 1.5


@names_of_losses
@dtypes
def test_scores_may_become_the_gradient(loss, dtype, rng):
    scores, y = rng.standard_normal((77, 11)).astype(dtype), rng.integers(0, 11, 77)
    value, dscores = LOSSES[loss](scores, y)
    out = np.empty_like(scores)
    assert LOSSES[loss](scores, y, out=out)[1] is out
    np.testing.assert_array_equal(out, dscores)
    assert LOSSES[loss](scores, y, out=scores)[0] == value
    np.testing.assert_array_equal(scores, dscores)


@names_of_losses
@dtypes
def test_threads_do_not_change_losses(loss, dtype, rng, isa):
    scores, y = rng.standard_normal((20_001, 10)).astype(dtype), rng.integers(0, 10, 20_001)
    value, dscores = LOSSES[loss](scores, y, n_jobs=1)
    for n_jobs in (2, 3, 7):
        again = LOSSES[loss](scores, y, n_jobs=n_jobs)
        assert again[0] == value
        np.testing.assert_array_equal(again[1], dscores)


@names_of_losses
def test_scores_of_other_kinds(loss, rng):
    scores, y = rng.integers(-9, 9, (20, 4)), rng.integers(0, 4, 20)
    expected = LOSSES[loss](scores.astype(np.float64), y)
    for kind in (
        scores,
        scores.astype(np.int8),
        scores.astype(np.float16),
        np.asfortranarray(scores),
    ):
        value, dscores = LOSSES[loss](kind, y)
        assert value == pytest.approx(expected[0], rel=1e-6)
        np.testing.assert_allclose(dscores, expected[1], atol=1e-6)
    read_only = scores.astype(np.float64)
    read_only.flags.writeable = False
    assert LOSSES[loss](read_only[::2], y[::2].astype(np.uint8))[0] > 0
    assert LOSSES[loss](scores.tolist(), y.tolist())[0] == expected[0]


@pytest.mark.parametrize(
    ("loss", "bad"),
    [*itertools.product(LOSSES, [np.nan, np.inf]), ("svm", -np.inf)],
)
def test_scores_that_are_not_finite(loss, bad, rng):
    for n in (1, 9, 40_000):
        scores = rng.standard_normal((n, 9))
        scores[n // 2, 3] = bad
        with pytest.raises(ValueError, match=f"scores must hold finite.*row {n // 2}, column 3"):
            LOSSES[loss](scores, np.zeros(n, int))
        before = scores.copy()
        with pytest.raises(ValueError, match="scores must hold finite"):
            LOSSES[loss](scores, np.zeros(n, int), out=scores)
        np.testing.assert_array_equal(scores, before)


@names_of_losses
def test_bad_arguments_of_losses_of_scores(loss):
    function, scores = LOSSES[loss], np.zeros((3, 4))
    for y, error, message in [
        ([0, 1, 4], ValueError, "classes from 0 to 3, got 4 at row 2"),
        ([0, -1, 0], ValueError, "got -1 at row 1"),
        ([0, 1], ValueError, r"y must have shape \(3,\)"),
        ([[0, 1, 2]], ValueError, r"y must have shape \(3,\)"),
        ([0.0, 1.0, 2.0], TypeError, "y must hold integers"),
        (["a", "b", "c"], TypeError, "y must hold integers"),
    ]:
        with pytest.raises(error, match=message):
            function(scores, y)
    with pytest.raises(ValueError, match="scores must be a 2-D array"):
        function([1.0, 2.0], [0])
    with pytest.raises(ValueError, match="at least one row"):
        function(np.zeros((0, 3)), [])
    with pytest.raises(TypeError, match="real numbers"):
        function(np.zeros((3, 4), complex), [0, 1, 2])
    for weights, message in [
        ([1.0, 2.0], "sample_weight must have shape"),
        ([1.0, -1.0, 1.0], "at least zero"),
        ([0.0, 0.0, 0.0], "not all of them zero"),
        ([1.0, np.nan, 1.0], "finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            function(scores, [0, 1, 2], sample_weight=weights)
    with pytest.raises(TypeError, match="out must be an ndarray"):
        function(scores, [0, 1, 2], out=[0])
    with pytest.raises(ValueError, match="out must have shape"):
        function(scores, [0, 1, 2], out=np.empty((3, 3)))
    buffer = np.zeros(16)
    with pytest.raises(ValueError, match="out must be scores itself or not overlap"):
        function(buffer[:12].reshape(3, 4), [0, 1, 2], out=buffer[4:].reshape(3, 4))


def test_bad_margin():
    with pytest.raises(TypeError, match="margin must be a number"):
        svm_loss([[1.0, 2.0]], [0], margin="wide")
    with pytest.raises(ValueError, match="margin must be a finite number"):
        svm_loss([[1.0, 2.0]], [0], margin=np.inf)


# ---- of linear classifiers -----------------------------------------------------------------------


def draw_linear(rng, n, d, n_classes, dtype, bias=False):
    X = rng.integers(0, 256, (n, d)) if dtype == "uint8" else rng.standard_normal((n, d))
    W = rng.standard_normal((n_classes, d + bias)) / (100 if dtype == "uint8" else 1)
    return W, X.astype(as_numbers(dtype)), rng.integers(0, n_classes, n)


def assert_linear_loss(W, X, y, loss, **arguments):
    value, gradient = linear_loss(W, X, y, loss, **arguments)
    expected, expected_gradient = oracles.linear_loss(W, X, y, loss, **arguments)
    wide = X.dtype == np.float64
    assert gradient.dtype == (np.float64 if wide else np.float32)
    # Scores are uncertain by their terms' rounding, and with them which margins are met.
    tolerance = 1e-12 if wide else 2e-5
    np.testing.assert_allclose(value, expected, rtol=tolerance)
    size = np.abs(expected_gradient).max() + np.abs(X).mean() + 1
    np.testing.assert_allclose(gradient, expected_gradient, atol=tolerance * size)


@names_of_losses
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("d", [*LENGTHS, 255, 257, 600])
def test_linear_loss_equals_the_oracle(loss, dtype, d, rng, isa):
    for n, n_classes in [(1, 1), (2, 2), (3, 10), (64, 3), (65, 11), (5, 8), (6, 9), (500, 5)]:
        for bias in (False, True):
            W, X, y = draw_linear(rng, n, d, n_classes, dtype, bias)
            assert_linear_loss(W, X, y, loss, l2=0.1, bias=bias)


@names_of_losses
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_linear_loss_with_everything(loss, dtype, rng, isa):
    W, X, y = draw_linear(rng, 700, 130, 7, dtype, bias=True)
    mean, scale = rng.random(130), rng.random(130) + 0.5
    assert_linear_loss(
        W, X, y, loss, l2=0.3, bias=True, mean=mean, scale=scale, sample_weight=rng.random(700)
    )
    assert_linear_loss(W[:, 1:], X, y, loss, mean=0.5, scale=0.25)
    with_mean_alone = linear_loss(W, X, y, loss, bias=True, mean=mean)
    np.testing.assert_allclose(
        with_mean_alone[0], oracles.linear_loss(W, X, y, loss, bias=True, mean=mean)[0], rtol=1e-5
    )


@names_of_losses
def test_many_rounds_of_tasks(loss, rng):
    """More rows than a round takes: sums go over rounds."""
    W, X, y = draw_linear(rng, 9000, 9, 4, "float32", bias=True)
    assert_linear_loss(W, X, y, loss, l2=0.1, bias=True)


@names_of_losses
def test_few_gradients_where_weights_are_large(loss, rng):
    """A gradient takes more than its share of the memory: two tasks are left."""
    W, X, y = draw_linear(rng, 600, 6000, 500, "float32")
    assert_linear_loss(W / 50, X, y, loss)


@names_of_losses
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_threads_do_not_change_linear_losses(loss, dtype, rng, isa):
    W, X, y = draw_linear(rng, 5001, 300, 10, dtype, bias=True)
    arguments = {"l2": 0.1, "bias": True, "mean": 1.0, "scale": 0.1}
    value, gradient = linear_loss(W, X, y, loss, n_jobs=1, **arguments)
    for n_jobs in (2, 3, 7):
        again = linear_loss(W, X, y, loss, n_jobs=n_jobs, **arguments)
        assert again[0] == value
        np.testing.assert_array_equal(again[1], gradient)


def test_initial_losses(rng):
    X, y = rng.integers(0, 256, (200, 3072), dtype=np.uint8), rng.integers(0, 10, 200)
    W = 1e-7 * rng.standard_normal((10, 3073))
    arguments = {"bias": True, "mean": 128.0, "scale": 1 / 64}
    assert linear_loss(W, X, y, "softmax", **arguments)[0] == pytest.approx(np.log(10), abs=1e-4)
    assert linear_loss(W, X, y, "svm", **arguments)[0] == pytest.approx(9.0, abs=1e-3)


def test_values_that_others_print():
    """torch's cross_entropy and multi_margin_loss (p=1, times the classes) give the same."""
    scores = np.array([[0.5, -1.25, 2.0], [1.5, 0.25, -0.75]])
    assert softmax_loss(scores, [2, 1])[0] == pytest.approx(0.9066473, abs=1e-6)
    assert svm_loss(scores, [2, 1])[0] == pytest.approx(1.125, abs=1e-12)
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from torch.nn import functional

    of_torch = torch.from_numpy(scores)
    labels = torch.tensor([2, 1])
    assert functional.cross_entropy(of_torch, labels).item() == pytest.approx(0.9066473, abs=1e-6)
    hinge = 3 * functional.multi_margin_loss(of_torch, labels)
    assert hinge.item() == pytest.approx(1.125, abs=1e-12)


def test_inputs_of_linear_loss_stay_as_they_are(rng):
    W, X, y = draw_linear(rng, 30, 20, 3, "float64")
    before = W.copy(), X.copy(), y.copy()
    out = np.empty_like(W)
    W.flags.writeable = X.flags.writeable = y.flags.writeable = False
    value, gradient = linear_loss(W, X, y, out=out)
    assert gradient is out
    assert linear_loss(np.asfortranarray(W), X, y)[0] == value
    assert linear_loss(W, np.asfortranarray(X), y)[0] == value
    for array, copy in zip((W, X, y), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_linear_loss_of_a_memmap(tmp_path, rng):
    W, X, y = draw_linear(rng, 30, 20, 3, "uint8")
    mapped = np.memmap(tmp_path / "X", np.uint8, "w+", shape=X.shape)
    mapped[:] = X
    np.testing.assert_array_equal(linear_loss(W, mapped, y)[1], linear_loss(W, X, y)[1])


@names_of_losses
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_linear_loss_of_what_is_not_finite(loss, bad, rng):
    W, X, y = draw_linear(rng, 300, 20, 3, "float32", bias=True)
    X[7, 5] = bad
    with pytest.raises(ValueError, match=r"X must hold finite numbers.*row 7, column 5"):
        linear_loss(W, X, y, loss, bias=True)
    X[7, 5], W[1, 20] = 0.0, bad
    with pytest.raises(ValueError, match=r"W must hold finite numbers.*row 1, column 20"):
        linear_loss(W, X, y, loss, bias=True)


def test_bad_arguments_of_linear_loss(rng):
    W, X, y = draw_linear(rng, 30, 20, 3, "float64")
    for arguments, error, message in [
        ({"W": W[:, 1:]}, ValueError, "W must have n_features columns, here 20"),
        ({"bias": True}, ValueError, r"W must have n_features \+ 1 columns"),
        ({"X": X[0]}, ValueError, "X must be a 2-D array"),
        ({"y": y + 1}, ValueError, "y must hold classes from 0 to 2"),
        ({"loss": "hinge"}, ValueError, "loss must be one of 'svm', 'softmax', got 'hinge'"),
        ({"loss": 1}, TypeError, "loss must be a string"),
        ({"l2": -1.0}, ValueError, "l2 must be a finite number >= 0"),
        ({"l2": "much"}, TypeError, "l2 must be a number"),
        ({"mean": np.zeros(3)}, ValueError, r"mean must be a number or of shape \(20,\)"),
        ({"scale": np.nan}, ValueError, "scale must hold finite numbers"),
        ({"out": np.empty((3, 20), np.float32)}, ValueError, "out must have shape"),
    ]:
        with pytest.raises(error, match=message):
            linear_loss(**({"W": W, "X": X, "y": y} | arguments))


# ---- on planes -----------------------------------------------------------------------------------


@names_of_losses
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("n_directions", [0, 1, 2, 3])
def test_losses_on_plane_equal_those_one_by_one(loss, dtype, n_directions, rng, isa):
    W, X, y = draw_linear(rng, 333, 40, 5, dtype, bias=True)
    directions = [rng.standard_normal(W.shape) / 100 for _ in range(n_directions)]
    coefficients = rng.standard_normal((9, n_directions))
    arguments = {
        "loss": loss,
        "l2": 0.2,
        "bias": True,
        "mean": 2.0,
        "scale": 0.5,
        "sample_weight": rng.random(333),
    }
    values = losses_on_plane(W, directions, coefficients, X, y, **arguments)
    for value, of_point in zip(values, coefficients, strict=True):
        point = W + sum((c * D for c, D in zip(of_point, directions, strict=True)), 0.0)
        expected = oracles.linear_loss(point, X, y, **arguments)[0]
        assert value == pytest.approx(expected, rel=1e-12 if dtype == "float64" else 1e-5)
    for n_jobs in (1, 3):
        again = losses_on_plane(W, directions, coefficients, X, y, n_jobs=n_jobs, **arguments)
        np.testing.assert_array_equal(again, values)


def test_bad_arguments_of_losses_on_plane(rng):
    W, X, y = draw_linear(rng, 30, 20, 3, "float64")
    for arguments, message in [
        ({"directions": [W[:2]]}, "directions must have the shape of W"),
        ({"directions": [W * np.inf]}, "W and directions must hold finite"),
        ({"directions": [W, W]}, r"coefficients must have shape \(n_points, 2\)"),
        ({"coefficients": [1.0]}, r"coefficients must have shape \(n_points, 1\)"),
        ({"X": X * np.nan}, "X must hold finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            losses_on_plane(
                **({"W": W, "directions": [W], "coefficients": [[1.0]], "X": X, "y": y} | arguments)
            )


# ---- the rectifier -------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("n", [0, *LENGTHS, 100_003])
def test_rectifier(dtype, n, rng, isa):
    x, dout = rng.standard_normal((2, n)).astype(dtype)
    x[::5] = 0.0
    x[1::7] = -0.0
    np.testing.assert_array_equal(relu(x), np.maximum(x, 0))
    assert not np.signbit(relu(x)).any()
    expected = np.where(x > 0, dout, 0)
    np.testing.assert_array_equal(relu_backward(dout, x), expected)
    for n_jobs in (1, 3):
        np.testing.assert_array_equal(relu_backward(dout, x, n_jobs=n_jobs), expected)
    for target in (0, 1):
        pair = [dout.copy(), x.copy()]
        assert relu_backward(*pair, out=pair[target]) is pair[target]
        np.testing.assert_array_equal(pair[target], expected)
    y = x.copy()
    assert relu(y, out=y) is y
    np.testing.assert_array_equal(y, np.maximum(x, 0))


def test_rectifier_of_what_is_not_finite(isa):
    x = np.array([np.nan, np.inf, -np.inf, 5e-324, -5e-324])
    np.testing.assert_array_equal(relu(x), [np.nan, np.inf, 0, 5e-324, 0])
    dout = np.array([1.0, np.nan, np.nan, np.inf, np.inf])
    np.testing.assert_array_equal(relu_backward(dout, x), [1.0, np.nan, 0, np.inf, 0])


def test_rectifier_of_other_kinds(rng):
    x = rng.standard_normal((3, 4, 5))
    assert relu(x).shape == (3, 4, 5)
    assert relu(np.float64(-1.0)) == 0.0
    assert relu([1, -1]).dtype == np.float64
    assert relu(np.array([1, -1], np.int8)).dtype == np.float32
    np.testing.assert_array_equal(relu(x.transpose()), np.maximum(x, 0).transpose())
    np.testing.assert_array_equal(relu(x[:, ::2]), np.maximum(x, 0)[:, ::2])
    np.testing.assert_array_equal(relu(x.astype(">f8")), np.maximum(x, 0))
    mixed = relu_backward(x.astype(np.float32), x)
    assert mixed.dtype == np.float64


def test_bad_arguments_of_the_rectifier():
    x = np.zeros((2, 3))
    with pytest.raises(TypeError, match="x must hold real numbers"):
        relu(["a"])
    with pytest.raises(ValueError, match="dout and x must have the same shape"):
        relu_backward(x, x[0])
    with pytest.raises(TypeError, match="out must be an ndarray"):
        relu(x, out=[1])
    with pytest.raises(ValueError, match="out must have shape"):
        relu(x, out=x[0])
    with pytest.raises(ValueError, match="out must be C-contiguous"):
        relu(x, out=np.zeros((3, 2)).T)
    buffer = np.zeros(5)
    with pytest.raises(ValueError, match="out must be x itself or not overlap"):
        relu(buffer[:4], out=buffer[1:])
    with pytest.raises(ValueError, match="out must be x itself or not overlap"):
        relu_backward(np.zeros(4), buffer[:4], out=buffer[1:])


def test_module_is_public():
    assert fastnn.losses.svm_loss is svm_loss


# ---- values at the ends of their types -----------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("in_place", [False, True])
def test_scores_whose_differences_overflow(dtype, in_place):
    largest = float(np.finfo(dtype).max)
    scores = np.array([[largest, -largest, 0], [-largest, largest, 1], [2, 1, 0]], dtype)
    for loss in (svm_loss, softmax_loss):
        values = scores.copy()
        with np.errstate(over="ignore"):
            value, dscores = loss(values, [0, 1, 0], out=values if in_place else None)
        expected = loss(np.array([[2.0, 1.0, 0.0]], dtype), [0])
        assert value == pytest.approx(expected[0] / 3)
        np.testing.assert_allclose(dscores[:2], 0.0, atol=1e-37)
        np.testing.assert_allclose(dscores[2], expected[1][0] / 3, rtol=1e-6)
        assert loss(scores, [1, 0, 0])[0] > 0.5 * largest


def test_weights_whose_sum_overflows():
    scores = np.array([[1.0, 2.0], [0.5, 0.0]])
    huge = softmax_loss(scores, [0, 0], sample_weight=[1e308, 1.5e308])
    same = softmax_loss(scores, [0, 0], sample_weight=[1.0, 1.5])
    assert huge[0] == pytest.approx(same[0], rel=1e-14)
    np.testing.assert_allclose(huge[1], same[1], rtol=1e-14)


def test_weights_beyond_the_rows_type():
    X, y = np.ones((3, 2), np.float32), [0, 1, 0]
    with pytest.raises(ValueError, match=r"W must be within float32's range .* 1e\+200"):
        linear_loss(np.full((2, 2), 1e200), X, y)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sample_weight": ["a", "b"]}, TypeError, "sample_weight must hold real numbers"),
        ({"scale": "a"}, TypeError, "scale must hold real numbers"),
        ({"mean": np.inf}, ValueError, "mean must hold finite numbers, got inf"),
    ],
)
def test_bad_numbers_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        linear_loss(np.ones((2, 1)), [[1.0], [2.0]], [0, 1], **arguments)


def test_bad_planes():
    W, X, y = np.ones((2, 1)), [[1.0], [2.0]], [0, 1]
    with pytest.raises(ValueError, match=r"directions must be a sequence of .* got one array"):
        losses_on_plane(W, W, [[1.0]], X, y)
    with pytest.raises(ValueError, match="coefficients must hold finite numbers"):
        losses_on_plane(W, [W], [[np.nan]], X, y)
    with pytest.raises(TypeError, match="coefficients must hold real numbers"):
        losses_on_plane(W, [W], [["a"]], X, y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("in_place", [False, True])
def test_scores_of_minus_infinity_mask_classes(rng, dtype, in_place):
    scores = rng.normal(size=(40, 6)).astype(dtype)
    scores[:, 4:] = -np.inf
    scores[3, 0], scores[5, :4] = -np.inf, np.array([-1, 1, 0, 0]) * np.finfo(dtype).max
    y = rng.integers(1, 4, 40)
    y[5] = 1
    weights = rng.random(40)
    exact = scores.astype(np.longdouble)
    rest = exact - exact.max(axis=1, keepdims=True)
    powers = np.exp(rest)
    of_rows = np.log(powers.sum(axis=1)) - rest[np.arange(40), y]
    shares = powers / powers.sum(axis=1, keepdims=True)
    shares[np.arange(40), y] -= 1
    expected = shares * (weights / weights.sum())[:, None]
    loss, gradient = softmax_loss(
        scores, y, sample_weight=weights, out=scores if in_place else None
    )
    assert loss == pytest.approx(np.average(of_rows, weights=weights), rel=1e-6)
    np.testing.assert_allclose(gradient, expected.astype(float), atol=1e-8)
    assert (gradient[:, 4:] == 0).all()
    assert (gradient is scores) == in_place


def test_where_the_right_class_is_masked():
    scores = np.array([[0.0, -np.inf, 1.0], [1.0, 2.0, 3.0]])
    loss, gradient = softmax_loss(scores, [1, 0])
    assert loss == np.inf
    shares = np.exp([0.0, 1.0]) / np.exp([0.0, 1.0]).sum()
    np.testing.assert_allclose(gradient[0], [shares[0] / 2, -0.5, shares[1] / 2])
    assert np.isfinite(softmax_loss(scores, [1, 0], sample_weight=[0.0, 1.0])[0])
    for bad, message in [
        ([[-np.inf, -np.inf]], "above -inf in each row, got none in row 0"),
        ([[-np.inf, np.inf]], "got infinity at row 0, column 1"),
        ([[-np.inf, np.nan]], "got NaN at row 0, column 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            softmax_loss(bad, [0])
