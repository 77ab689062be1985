"""Numerical gradients, and the check: it must fail where a gradient is wrong, and only there."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn import losses
from fastnn.gradcheck import check_gradient, numerical_gradient
from fastnn.losses import linear_loss


def smooth(x):
    """Returns a value and its gradient; every derivative is of the order of 1."""
    value = np.sum(np.sin(x) + 0.5 * x**2) + np.prod(np.cos(x.ravel()[:3]))
    gradient = np.cos(x) + x
    flat = gradient.ravel()
    for i in range(min(3, x.size)):
        others = np.delete(np.cos(x.ravel()[:3]), i)
        flat[i] -= np.sin(x.ravel()[i]) * np.prod(others)
    return value, flat.reshape(x.shape)


# ---- numerical gradients -------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (2, 3, 4)])
def test_central_differences(shape, rng):
    x = rng.standard_normal(shape)
    gradient = numerical_gradient(smooth, x)
    assert gradient.shape == shape
    assert gradient.dtype == np.float64
    np.testing.assert_allclose(gradient, smooth(x)[1], rtol=0, atol=1e-9)


def test_forward_differences_are_less_exact(rng):
    x = rng.standard_normal(20)
    exact = smooth(x)[1]
    central = np.abs(numerical_gradient(smooth, x) - exact).max()
    forward = np.abs(numerical_gradient(smooth, x, scheme="forward") - exact).max()
    assert central < 1e-9 < 1e-7 < forward < 1e-4


@pytest.mark.parametrize(("scheme", "n_calls"), [("central", 2 * 6), ("forward", 6 + 1)])
def test_evaluations(scheme, n_calls):
    calls = []
    numerical_gradient(lambda x: calls.append(1) or x.sum(), np.zeros(6), scheme=scheme)
    assert len(calls) == n_calls


def test_the_step_is_divided_by_as_it_is():
    """At 1e6 a step of 1e-5 is off by 1e-5 of itself after rounding; products by 4 are exact."""
    assert 1e6 + 1e-5 - 1e6 != 1e-5
    assert numerical_gradient(lambda x: 4.0 * x[0], [1e6]) == 4.0


@pytest.mark.parametrize("n_jobs", [2, 3, None])
def test_threads_share_the_coordinates(n_jobs, rng):
    x = rng.standard_normal((5, 5))
    names = set()

    def f(x):
        names.add(threading.current_thread().name)
        return smooth(x)[0]

    expected = numerical_gradient(smooth, x)
    np.testing.assert_array_equal(numerical_gradient(f, x, n_jobs=n_jobs), expected)
    if n_jobs:
        assert threading.main_thread().name not in names


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8, bool])
def test_points_of_other_dtypes_become_float64(dtype):
    seen = []
    numerical_gradient(lambda x: seen.append(x.dtype) or x.sum(), np.ones(2, dtype))
    assert set(seen) == {np.dtype(np.float64)}


def test_layouts_and_read_only_points(rng):
    x = rng.standard_normal((6, 4))
    expected = numerical_gradient(smooth, x)
    kept = x.copy()
    x.flags.writeable = False
    for other in (x, np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], x.tolist()):
        np.testing.assert_array_equal(numerical_gradient(smooth, other), expected)
    np.testing.assert_array_equal(x, kept)


# ---- the check -----------------------------------------------------------------------------------


@settings(max_examples=50)
@given(
    values=st.lists(st.floats(-3, 3), min_size=1, max_size=8),
    which=st.integers(0, 7),
    factor=st.sampled_from([0.999, 1.001, 0.0, -1.0, 2.0]),
)
def test_right_passes_and_wrong_fails(values, which, factor):
    x = np.array(values)
    assert check_gradient(smooth, x).passed
    gradient = smooth(x)[1]
    i = which % len(x)
    if abs(gradient[i]) < 1e-3:  # of a derivative of nearly 0, 0.1 % are no error
        return
    gradient[i] *= factor
    report = check_gradient(value_of, x, gradient, raise_on_error=False)
    np.testing.assert_array_equal(report.wrong, np.arange(len(x)) == i)
    assert not report.kinks.any()


def value_of(x):
    return smooth(x)[0]


@pytest.mark.parametrize("loss", ["svm", "softmax"])
@pytest.mark.parametrize("bias", [False, True])
def test_linear_losses(loss, bias, rng):
    """At 1e-7, in float64; with a part of the gradient 0.1 % off, no more."""
    X, y = rng.standard_normal((40, 6)), rng.integers(0, 4, 40)
    W = rng.standard_normal((4, 6 + bias))

    def f(W, factor=1.0):
        value, gradient = losses.linear_loss(W, X, y, loss, l2=0.1, bias=bias)
        gradient[1, 2] *= factor
        return value, gradient

    report = check_gradient(f, W, rtol=1e-7, n_jobs=2)
    assert report.passed
    assert report.wrong.size == W.size
    with pytest.raises(AssertionError, match=r"1 of \d+ derivatives are wrong") as error:
        check_gradient(lambda W: f(W, 1.001), W, rtol=1e-7)
    assert "(1, 2)" in str(error.value).splitlines()[2]


@pytest.mark.parametrize("loss", ["svm", "softmax"])
@pytest.mark.parametrize("sample_weight", [None, [1.0, 0.0, 3.0, 0.5, 2.0]])
def test_losses_of_scores(loss, sample_weight, rng):
    scores, y = rng.standard_normal((5, 7)), np.array([0, 6, 3, 3, 1])
    function = getattr(losses, f"{loss}_loss")
    report = check_gradient(
        lambda s: function(s, y, sample_weight=sample_weight), scores, rtol=1e-7
    )
    assert not report.kinks.any()


def test_the_rectifier(rng):
    x, dout = rng.standard_normal((2, 50))
    check_gradient(lambda x: dout @ losses.relu(x), x, lambda x: losses.relu_backward(dout, x))


# ---- kinks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0.0, 3e-6, -3e-6, 9e-6, 1e-9])
def test_a_kink_within_the_step_is_no_error(at):
    """The rectifier at and around 0, with the slope that holds there."""
    x = np.array([at, 1.0, -1.0])
    report = check_gradient(lambda x: np.maximum(x, 0).sum(), x, lambda x: (x > 0) * 1.0)
    np.testing.assert_array_equal(report.kinks, [True, False, False])
    assert report.passed
    assert report.max_relative_error < 1e-9
    assert "1 are at kinks" in str(report)
    assert "kink" in str(report).splitlines()[2]


@pytest.mark.parametrize("slope", [-0.5, 1.5, 3.0])
def test_a_slope_outside_of_a_kink_is_wrong(slope):
    report = check_gradient(lambda x: np.maximum(x, 0).sum(), [0.0], [slope], raise_on_error=False)
    assert report.wrong.all()


def test_hinges_that_are_met_exactly():
    """Scores at a margin of exactly 1: the subgradient 0 is one of those that hold."""
    scores, y = np.array([[2.0, 1.0, 0.0]]), [0]
    report = check_gradient(lambda s: losses.svm_loss(s, y), scores)
    assert report.kinks[:2].all()
    assert report.passed


def test_curvature_is_no_kink():
    """Slopes to both sides differ by 0.2 here, but the less the shorter the step."""
    x, curvature = np.array([1e-3]), 1e4
    f = lambda x: 0.5 * curvature * float(x @ x)  # noqa: E731
    assert check_gradient(f, x, curvature * x).passed
    wrong = check_gradient(f, x, 1.001 * curvature * x, raise_on_error=False)
    assert wrong.wrong.all()
    assert not wrong.kinks.any()


# ---- reports -------------------------------------------------------------------------------------


def test_report(rng):
    x = rng.standard_normal((3, 4))
    report = check_gradient(smooth, x)
    np.testing.assert_array_equal(x[report.coordinates], x.ravel())
    np.testing.assert_array_equal(report.analytic, smooth(x)[1].ravel())
    np.testing.assert_allclose(report.numerical, report.analytic, atol=1e-9)
    assert report.max_relative_error == report.relative_errors.max() < 1e-8
    lines = str(report).splitlines()
    assert lines[0].startswith("0 of 12 derivatives are wrong")
    assert len(lines) == 2 + 10 + 1
    assert "... 2 more" in lines[-1]


def test_some_coordinates_at_random():
    x = np.linspace(-1, 1, 30).reshape(5, 6)
    report = check_gradient(smooth, x, n_checks=7, random_state=3)
    again = check_gradient(smooth, x, n_checks=7, random_state=3)
    assert report.numerical.shape == (7,)
    assert len(set(zip(*report.coordinates, strict=True))) == 7
    np.testing.assert_array_equal(report.coordinates, again.coordinates)
    assert check_gradient(smooth, x, n_checks=100).numerical.size == 30


def test_gradients_of_zero():
    report = check_gradient(lambda x: (3.0, np.zeros(2)), [1.0, 2.0])
    np.testing.assert_array_equal(report.relative_errors, 0.0)
    wrong = check_gradient(lambda x: 3.0, [1.0], [1e-3], raise_on_error=False)
    assert wrong.relative_errors[0] == 1.0


def test_tolerances():
    def f(x):
        return x @ x, 2 * x * (1 + 1e-4)

    x = np.array([1.0, 2.0])
    assert not check_gradient(f, x, raise_on_error=False).passed
    assert check_gradient(f, x, rtol=1e-3).passed
    assert check_gradient(f, x, atol=1e-3).passed


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_fail(bad):
    with np.errstate(invalid="ignore"):
        report = check_gradient(lambda x: bad, [1.0], [0.0], raise_on_error=False)
        assert report.wrong.all()
    report = check_gradient(lambda x: x.sum(), [1.0], [bad], raise_on_error=False)
    assert report.wrong.all()


# ---- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"f": 3}, TypeError, "f must be callable, got int"),
        ({"f": lambda x: "a"}, TypeError, "f must return a number, got str"),
        ({"f": lambda x: x}, TypeError, r"f must return a number, got an array of shape \(2,\)"),
        ({"f": lambda x: None}, TypeError, "f must return a number, got NoneType"),
        ({"x": []}, ValueError, "x must hold finite numbers and not be empty"),
        ({"x": [1.0, np.nan]}, ValueError, "x must hold finite numbers"),
        ({"x": ["a"]}, TypeError, "x must hold real numbers"),
        ({"h": 0.0}, ValueError, "h must be above 0, got 0.0"),
        ({"h": "small"}, TypeError, "h must be a number"),
        ({"h": 1e-20}, ValueError, "h must be large enough to change each x"),
        ({"scheme": "backward"}, ValueError, "scheme must be one of 'central', 'forward'"),
        ({"n_jobs": 0}, ValueError, "n_jobs"),
    ],
)
def test_bad_arguments_of_numerical_gradient(arguments, error, message):
    with pytest.raises(error, match=message):
        numerical_gradient(**{"f": np.sum, "x": [1.0, 2.0]} | arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"f": 3}, TypeError, "f must be callable, got int"),
        ({"gradient": None}, TypeError, r"f must return a tuple \(value, gradient\)"),
        ({"gradient": [1.0]}, ValueError, r"gradient must have the shape of x, \(2,\), got \(1,\)"),
        ({"gradient": lambda x: x[:1]}, ValueError, "gradient must have the shape of x"),
        ({"gradient": ["a", "b"]}, TypeError, "gradient must hold real numbers"),
        ({"n_checks": 0}, ValueError, "n_checks must be at least 1, got 0"),
        ({"n_checks": 1.5}, TypeError, "n_checks must be an integer, got float"),
        ({"rtol": -1}, ValueError, "rtol must be a finite number >= 0"),
        ({"atol": -1}, ValueError, "atol must be a finite number >= 0"),
        ({"h": 1e-15}, ValueError, "h must be large enough"),
        ({"x": np.inf}, ValueError, "x must hold finite numbers"),
    ],
)
def test_bad_arguments_of_check_gradient(arguments, error, message):
    defaults = {"f": np.sum, "x": [1.0, 2.0], "gradient": [1.0, 1.0]}
    with pytest.raises(error, match=message):
        check_gradient(**defaults | arguments)


def test_errors_in_f_reach_the_caller():
    def f(x):
        raise RuntimeError("mine")

    for n_jobs in (1, 2):
        with pytest.raises(RuntimeError, match="mine"):
            numerical_gradient(f, [1.0, 2.0], n_jobs=n_jobs)


# ---- what rounding hides -------------------------------------------------------------------------


def test_rounding_is_no_kink():
    """Over shorter steps rounding would agree with anything."""
    report = check_gradient(lambda x: 1e6 + x.sum(), [3.0], gradient=[1.01], raise_on_error=False)
    assert (report.passed, report.kinks.any()) == (False, False)
    rng = np.random.default_rng(0)
    X, y = 1e-4 * rng.standard_normal((200, 5)), rng.integers(0, 3, 200)

    def loss(W):
        value, slope = linear_loss(W, X, y)
        return value, 1.001 * slope

    report = check_gradient(loss, rng.standard_normal((3, 5)), raise_on_error=False)
    assert report.wrong.sum() >= 12
    assert not report.kinks.any()
