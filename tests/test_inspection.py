"""Displays: what they draw against direct evaluation, scikit-learn's conventions, every error."""

import sys

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier

from fastnn.linear_model import SoftmaxClassifier, SVMClassifier
from fastnn.losses import linear_loss

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402

from fastnn.inspection import (  # noqa: E402
    LossCurveDisplay,
    LossLandscapeDisplay,
    WeightsDisplay,
)

CLASSIFIERS = {"svm": SVMClassifier, "softmax": SoftmaxClassifier}
DISPLAYS = (LossCurveDisplay, LossLandscapeDisplay, WeightsDisplay)
names_of_losses = pytest.mark.parametrize("loss", CLASSIFIERS)
numbers_of_directions = pytest.mark.parametrize("n_directions", [1, 2])
brief = {"batch_size": 16, "max_iter": 5, "tol": None, "learning_rate_init": 0.01}


@pytest.fixture(autouse=True)
def _figures_are_closed():
    yield
    plt.close("all")


def blobs(n=60, d=9, n_classes=3, dtype=np.float64):
    rng = np.random.default_rng(0)
    y = np.arange(n) % n_classes
    X = 2 * rng.standard_normal((n_classes, d))[y] + rng.standard_normal((n, d))
    return (np.clip(128 + 20 * X, 0, 255) if dtype == np.uint8 else X).astype(dtype), y


def fitted(loss="softmax", X_and_y=None, **parameters):
    X, y = blobs() if X_and_y is None else X_and_y
    return CLASSIFIERS[loss](random_state=0, **(brief | parameters)).fit(X, y)


def quadratic(w):
    return float(np.sum(np.square(w)))


def draw(what, **arguments):
    """Draw one of each kind of picture, from data."""
    if what == "line":
        values = {"distances": [-1, 0, 1], "losses": [2.0, 1.0, 3.0], "center_loss": 1.0}
        return LossLandscapeDisplay(**values).plot(**arguments)
    if what == "plane":
        losses = np.arange(9.0).reshape(3, 3)
        return LossLandscapeDisplay(distances=[-1, 0, 1], losses=losses).plot(**arguments)
    return LossCurveDisplay(losses=[3, 2, 1], validation_scores=[0, 0.5, 1]).plot(**arguments)


# ---- conventions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["line", "plane", "curve"])
def test_given_axes_are_drawn_on(what):
    figure, ax = plt.subplots()
    display = draw(what, ax=ax)
    assert isinstance(display, DISPLAYS)
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert plt.get_fignums() == [figure.number]


@pytest.mark.parametrize("what", ["line", "plane", "curve"])
def test_a_new_figure_has_a_layout_that_fits(what):
    display = draw(what)
    assert display.ax_.figure is display.figure_
    assert "Constrained" in type(display.figure_.get_layout_engine()).__name__
    assert all([display.ax_.get_xlabel(), display.ax_.get_ylabel()])
    display.figure_.draw_without_rendering()


@pytest.mark.parametrize("cls", DISPLAYS)
def test_without_matplotlib_the_error_says_what_to_install(cls, monkeypatch):
    for name in ("matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)
    X, y = blobs()
    arguments = (fitted(), X, y) if cls is LossLandscapeDisplay else (fitted(),)
    with pytest.raises(ImportError, match=r"from_estimator needs .*fastnn-kernels\[plot\]"):
        cls.from_estimator(*arguments)
    display = {
        LossCurveDisplay: lambda: LossCurveDisplay(losses=[1]),
        LossLandscapeDisplay: lambda: LossLandscapeDisplay(distances=[0, 1], losses=[0, 1]),
        WeightsDisplay: lambda: WeightsDisplay(weights=np.ones((1, 4))),
    }[cls]()
    with pytest.raises(ImportError, match=r"plot needs .*fastnn-kernels\[plot\]"):
        display.plot()
    if cls is LossLandscapeDisplay:
        with pytest.raises(ImportError, match=r"from_loss needs .*fastnn-kernels\[plot\]"):
            cls.from_loss(quadratic, [1.0])


@pytest.mark.parametrize("cls", DISPLAYS)
def test_estimators_must_be_fitted(cls):
    arguments = blobs() if cls is LossLandscapeDisplay else ()
    with pytest.raises(NotFittedError):
        cls.from_estimator(SoftmaxClassifier(), *arguments)


# ---- landscapes of classifiers -------------------------------------------------------------------


def loss_by_the_book(model, X, y, loss, coef, intercept):
    """The training loss of weights for X itself: data, then the penalty without intercepts."""
    W = np.column_stack([coef, intercept])
    penalty = 0.5 * model.alpha * np.square(coef).sum()
    if len(W) == 1:
        W = np.vstack([-W / 2, W / 2])
    weights = None if model.class_weight is None else [model.class_weight[k] for k in y]
    return linear_loss(W, X, y, loss, bias=True, sample_weight=weights)[0] + penalty


def parameters_along(display, n_rows):
    """The directions as changes of `coef_` and `intercept_`."""
    directions = [D if n_rows > 1 else D[1:] - D[:1] for D in display.directions]
    return [D[:, :-1] for D in directions], [D[:, -1] for D in directions]


@names_of_losses
@numbers_of_directions
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "parameters", [{}, {"class_weight": {0: 1.0, 1: 3.0, 2: 0.5}}, {"fit_intercept": False}]
)
def test_losses_are_those_of_the_moved_weights(loss, n_directions, n_classes, parameters):
    X, y = blobs(n_classes=n_classes)
    if "class_weight" in parameters:
        parameters = {"class_weight": {k: parameters["class_weight"][k] for k in range(n_classes)}}
    model = fitted(loss, (X, y), alpha=0.3, **parameters)
    display = LossLandscapeDisplay.from_estimator(
        model, X, y, n_directions=n_directions, distance=2.0, n_points=5, random_state=1
    )
    np.testing.assert_array_equal(display.distances, [-2, -1, 0, 1, 2])
    assert display.losses.shape == (5,) * n_directions
    along_coef, along_intercept = parameters_along(display, len(model.coef_))
    for index in [(0, 3), (2, 2), (4, 1), (1, 4)]:
        index = index[:n_directions]
        at = display.distances[list(index)]
        coef = model.coef_ + np.tensordot(at, along_coef, 1)
        intercept = model.intercept_ + np.tensordot(at, along_intercept, 1)
        expected = loss_by_the_book(model, X, y, loss, coef, intercept)
        np.testing.assert_allclose(display.losses[index], expected, rtol=1e-12)
    expected = loss_by_the_book(model, X, y, loss, model.coef_, model.intercept_)
    np.testing.assert_allclose(display.center_loss, expected, rtol=1e-12)
    assert display.losses[(2,) * n_directions] == display.center_loss


@names_of_losses
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_bytes_are_moved_around_in_standardized_units(loss, n_classes, fit_intercept):
    X, y = blobs(n_classes=n_classes, dtype=np.uint8)
    model = fitted(loss, (X, y), alpha=0.3, fit_intercept=fit_intercept)
    display = LossLandscapeDisplay.from_estimator(model, X, y, n_points=3, random_state=0)
    arguments = model._loss_arguments(X, y)
    standardized = (X - arguments["mean"]) * arguments["scale"]
    rows = np.hstack([standardized, np.ones((len(X), 1))])
    for i in range(3):
        W = arguments["W"] + display.distances[i] * display.directions[0]
        expected = linear_loss(W, rows, y, loss)[0]
        expected += 0.5 * arguments["l2"] * np.square(W[:, :-1]).sum()
        np.testing.assert_allclose(display.losses[i], expected, rtol=1e-5)
    # By coefficients for the bytes the center is the same.
    coef, intercept = model.coef_, model.intercept_
    if n_classes == 2:
        coef, intercept = np.vstack([-coef / 2, coef / 2]), np.append(-intercept / 2, intercept / 2)
    W = np.column_stack([coef, intercept])
    unpenalized = linear_loss(W, X.astype(np.float64), y, loss, bias=True)[0]
    penalty = display.center_loss - unpenalized
    in_units = np.square(model.coef_ / arguments["scale"]).sum()
    np.testing.assert_allclose(penalty, 0.15 * in_units, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_random_directions(n_classes, fit_intercept):
    """Of the weights' norm, orthogonal, and changing only what the model can have."""
    X, y = blobs(n_classes=n_classes)
    model = fitted(X_and_y=(X, y), fit_intercept=fit_intercept)
    make = {"n_directions": 2, "n_points": 3, "random_state": 0}
    display = LossLandscapeDisplay.from_estimator(model, X, y, **make)
    first, second = display.directions
    norm = np.linalg.norm(model._loss_arguments(X, y)["W"])
    np.testing.assert_allclose([np.linalg.norm(first), np.linalg.norm(second)], norm)
    assert abs(np.vdot(first, second)) < 1e-12 * norm**2
    for direction in display.directions:
        assert (direction[:, -1] != 0).all() == fit_intercept
        if n_classes == 2:
            np.testing.assert_allclose(direction[0], -direction[1], atol=1e-15)
    again = LossLandscapeDisplay.from_estimator(model, X, y, **make)
    np.testing.assert_array_equal(display.losses, again.losses)
    other = LossLandscapeDisplay.from_estimator(model, X, y, **(make | {"random_state": 1}))
    assert (display.losses != other.losses).any()


def test_other_rows_than_those_of_the_fit():
    X, y = blobs()
    display = LossLandscapeDisplay.from_estimator(fitted(), X[:7], y[:7], n_points=3)
    assert np.isfinite(display.losses).all()
    with pytest.raises(ValueError, match="features"):
        LossLandscapeDisplay.from_estimator(fitted(), X[:, :4], y)


def test_string_classes():
    X, y = blobs()
    names = np.array(["cat", "dog", "frog"])[y]
    arguments = {"n_points": 3, "random_state": 0}
    by_name = LossLandscapeDisplay.from_estimator(fitted(X_and_y=(X, names)), X, names, **arguments)
    by_number = LossLandscapeDisplay.from_estimator(fitted(), X, y, **arguments)
    np.testing.assert_array_equal(by_name.losses, by_number.losses)


# ---- landscapes of any function ------------------------------------------------------------------


def test_a_loss_is_evaluated_at_each_point():
    W, directions = np.array([1.0, 2.0]), [[1.0, 0.0], [0.0, 10.0]]
    display = LossLandscapeDisplay.from_loss(
        lambda w: w[0] + 100 * w[1], W, directions=directions, n_points=3
    )
    np.testing.assert_array_equal(display.losses[:, 1], [200, 201, 202])
    np.testing.assert_array_equal(display.losses[1], [-799, 201, 1201])
    assert display.center_loss == 201


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 4)])
def test_random_directions_of_any_shape(shape):
    seen = []

    def loss(w):
        seen.append(w.copy())
        return quadratic(w)

    W = np.full(shape, 2.0, np.float32)
    display = LossLandscapeDisplay.from_loss(loss, W, n_directions=2, n_points=4, random_state=0)
    assert len(seen) == 17
    assert {(w.shape, w.dtype) for w in seen} == {(shape, np.dtype(np.float32))}
    np.testing.assert_array_equal(seen[0], W)
    first, second = display.directions
    np.testing.assert_allclose(
        [np.linalg.norm(first), np.linalg.norm(second)], np.linalg.norm(W), rtol=1e-6
    )
    assert abs(np.vdot(first, second)) < 1e-9


def test_directions_from_the_origin_have_norm_1():
    display = LossLandscapeDisplay.from_loss(quadratic, np.zeros((2, 2)), n_points=3)
    np.testing.assert_allclose(display.losses, [1, 0, 1])


def test_integers_are_weights_too():
    display = LossLandscapeDisplay.from_loss(quadratic, [0, 0], directions=[[1, 1]], n_points=2)
    np.testing.assert_array_equal(display.losses, [2, 2])


def test_an_odd_number_of_points_meets_0_exactly():
    for n_points in (3, 41, 99):
        display = LossLandscapeDisplay.from_loss(quadratic, [1.0], distance=0.7, n_points=n_points)
        assert display.distances[n_points // 2] == 0
        assert (display.distances[0], display.distances[-1]) == (-0.7, 0.7)


# ---- drawing landscapes --------------------------------------------------------------------------


def test_the_line_as_drawn():
    display = draw("line", color="green", linestyle=":", label="mine")
    np.testing.assert_array_equal(display.line_.get_xdata(), [-1, 0, 1])
    np.testing.assert_array_equal(display.line_.get_ydata(), [2, 1, 3])
    assert (display.line_.get_color(), display.line_.get_linestyle()) == ("green", ":")
    assert display.center_.get_xydata().tolist() == [[0, 1]]
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["mine", "W: loss 1"]


def test_a_line_without_the_center():
    display = LossLandscapeDisplay(distances=[-1, 1], losses=[1, 2]).plot()
    assert display.center_ is None
    assert display.ax_.get_legend() is None


def test_the_plane_as_drawn():
    """a goes to the right and b up."""
    display = LossLandscapeDisplay.from_loss(
        lambda w: w[0], [0.0, 0.0], directions=np.eye(2), n_points=11, levels=[-2, 0, 2]
    )
    assert display.center_.get_xydata().tolist() == [[0, 0]]
    assert display.colorbar_.mappable is display.surface_
    lower = display.surface_.get_paths()[0].get_extents()
    np.testing.assert_allclose(lower.extents, [-1, -1, 0, 1], atol=1e-12)


@pytest.mark.parametrize("growth", [np.sqrt, np.square, lambda r: np.exp(100 * r)])
def test_contours_of_a_bowl_are_even_however_it_grows(growth):
    display = LossLandscapeDisplay.from_loss(
        lambda w: float(growth(np.hypot(*w))), [0.0, 0.0], directions=np.eye(2), n_points=101
    )
    radii = np.sort(np.hypot(*np.meshgrid(display.distances, display.distances)).ravel())
    shares = np.searchsorted(growth(radii), display.surface_.levels[1:-1]) / len(radii)
    np.testing.assert_allclose(np.sqrt(shares), np.arange(1, 12) / 12, atol=0.03)


@pytest.mark.parametrize(
    "loss",
    [
        lambda w: 1.0,
        lambda w: 0.0,
        lambda w: -1e12,
        lambda w: float(w[0] > 0),
        lambda w: -1e6 + np.sin(5 * w[0]),
        lambda w: np.nan if w[0] > 0.5 else np.inf if w[1] > 0.5 else w[0],
        lambda w: 1e-200 * w[0],
        lambda w: 1e200 * w[0],
    ],
)
def test_any_plane_can_be_drawn(loss):
    display = LossLandscapeDisplay.from_loss(loss, [0.0, 0.0], directions=np.eye(2), n_points=5)
    display.figure_.draw_without_rendering()
    levels, seen = display.surface_.levels, display.losses[np.isfinite(display.losses)]
    assert (np.diff(levels) > 0).all()
    assert levels[0] <= seen.min()
    assert seen.max() <= levels[-1]


@pytest.mark.parametrize(
    "options",
    [
        {"levels": 3},
        {"levels": [0, 4, 8], "cmap": "magma"},
        {"colors": ["red", "green"]},
        {"vmin": 0, "vmax": 100},
        {"norm": "log", "levels": [1, 3, 8]},
        {"locator": matplotlib.ticker.MaxNLocator(3)},
    ],
)
def test_options_of_contours_are_passed_on(options):
    surface = draw("plane", **options).surface_
    if isinstance(options.get("levels"), list):
        assert surface.levels.tolist() == options["levels"]
    if "cmap" in options:
        assert surface.get_cmap().name == options["cmap"]
    if "vmax" in options:
        assert surface.norm.vmax == options["vmax"]


# ---- landscapes: errors --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_directions": 3}, ValueError, "n_directions must be 1 or 2, got 3"),
        ({"n_directions": 0}, ValueError, "n_directions must be 1 or 2, got 0"),
        ({"n_directions": 1.0}, TypeError, "n_directions must be an integer, got float"),
        ({"n_points": 1}, ValueError, "n_points must be at least 2, got 1"),
        ({"n_points": "9"}, TypeError, "n_points must be an integer, got str"),
        ({"distance": 0}, ValueError, "distance must be above 0, got 0.0"),
        ({"distance": -1.5}, ValueError, "distance must be above 0, got -1.5"),
        ({"distance": np.nan}, ValueError, "distance must be a finite number, got nan"),
        ({"distance": "1"}, TypeError, "distance must be a number, got str"),
    ],
)
def test_bad_grids(arguments, error, message):
    X, y = blobs()
    with pytest.raises(error, match=message):
        LossLandscapeDisplay.from_estimator(fitted(), X, y, **arguments)
    with pytest.raises(error, match=message):
        LossLandscapeDisplay.from_loss(quadratic, [1.0, 2.0], **arguments)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"loss": 3}, TypeError, "loss must be callable, got int"),
        ({"loss": lambda w: (1.0, w)}, TypeError, "loss must return a number, got tuple"),
        ({"loss": lambda w: None}, TypeError, "loss must return a number, got NoneType"),
        ({"loss": lambda w: np.inf}, ValueError, "losses must hold some finite numbers"),
        ({"W": ["a", "b"]}, TypeError, "W must hold real numbers, got dtype <U1"),
        ({"W": [1.0, np.nan]}, ValueError, "W must hold finite numbers"),
        ({"W": []}, ValueError, "W must hold finite numbers and not be empty"),
        ({"directions": [[1.0]]}, ValueError, r"the shape of W, \(2,\), got \(1,\)"),
        ({"directions": [1.0, 2.0]}, ValueError, r"got \(\); a single one goes into a list"),
        ({"directions": []}, ValueError, "directions must be 1 or 2 arrays, got 0"),
        ({"directions": np.eye(2)[[0, 1, 0]]}, ValueError, "must be 1 or 2 arrays, got 3"),
        ({"directions": [[1j, 1]]}, TypeError, "directions must hold real numbers"),
        ({"directions": [[np.inf, 1]]}, ValueError, "directions must hold finite numbers"),
        ({"W": [1.0], "n_directions": 2}, ValueError, "n_directions must be 1 where"),
    ],
)
def test_bad_losses_weights_and_directions(changes, error, message):
    arguments = {"loss": quadratic, "W": [1.0, 2.0], "n_points": 3} | changes
    with pytest.raises(error, match=message):
        LossLandscapeDisplay.from_loss(**arguments)


@pytest.mark.parametrize("other", [LogisticRegression(), "softmax"])
def test_landscapes_are_of_classifiers_with_a_known_loss(other):
    X, y = blobs()
    name = type(other).__name__
    with pytest.raises(TypeError, match=f"estimator must be .*, got {name}; from_loss takes"):
        LossLandscapeDisplay.from_estimator(other, X, y)


@pytest.mark.parametrize(
    ("distances", "losses", "message"),
    [
        ([0, 1], [1, 2, 3], r"losses must have shape \(2,\) or \(2, 2\), .* got \(3,\)"),
        ([0, 1], np.ones((2, 3)), r"got \(2, 3\)"),
        ([0, 1], np.ones((2, 2, 2)), r"losses must be 1-D or 2-D and not empty, got shape"),
        ([], [], r"distances must be 1-D and not empty, got shape \(0,\)"),
        ([0], [1], "distances must be at least 2 numbers that ascend"),
        ([1, 0], [1, 2], "distances must be at least 2 numbers that ascend"),
        ([0, np.nan], [1, 2], "distances must be at least 2 numbers that ascend"),
        ([0, 1], [np.nan, np.inf], "losses must hold some finite numbers"),
    ],
)
def test_landscapes_of_data_that_do_not_fit(distances, losses, message):
    with pytest.raises(ValueError, match=message):
        LossLandscapeDisplay(distances=distances, losses=losses)


# ---- loss curves ---------------------------------------------------------------------------------


@names_of_losses
def test_the_curve_of_a_classifier(loss):
    model = fitted(loss)
    display = LossCurveDisplay.from_estimator(model, color="red", linewidth=3)
    np.testing.assert_array_equal(display.line_.get_xdata(), [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(display.line_.get_ydata(), model.loss_curve_)
    assert (display.line_.get_color(), display.line_.get_linewidth()) == ("red", 3)
    assert display.validation_ax_ is None
    assert display.validation_line_ is None
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("Epoch", "Training loss")


@pytest.mark.parametrize("on_given_axes", [False, True])
def test_scores_have_an_axis_of_their_own_and_a_joint_legend(on_given_axes):
    model = fitted(early_stopping=True)
    ax = plt.subplots()[1] if on_given_axes else None
    display = LossCurveDisplay.from_estimator(
        model, ax=ax, validation_kwargs={"linestyle": "--"}, color="red"
    )
    twin, line = display.validation_ax_, display.validation_line_
    assert twin is not display.ax_
    assert line.axes is twin
    assert twin.get_ylabel() == "Validation accuracy"
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(line.get_ydata(), model.validation_scores_)
    assert (line.get_linestyle(), line.get_color()) == ("--", "C1")
    legend = twin.get_legend() if on_given_axes else display.figure_.legends[0]
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["Training loss", "Validation accuracy"]


@pytest.mark.parametrize(
    ("losses", "scores", "place"),
    [
        ([9, 3, 1, 1, 1], [0.1, 0.7, 0.9, 0.9, 0.9], "center right"),
        ([9, 3, 1, 1, 1], [0.09, 0.04, 0.04, 0.04, 0.01], "upper right"),
        ([9, 9, 9, 5, 5], [0.9, 0.9, 0.9, 0.9, 0.1], "center left"),
        ([9, np.nan, 1, 1, np.inf], [0.1, 0.5, 0.8, 0.9, 0.9], "center right"),
        ([np.nan], [0.5], "center right"),
    ],
)
@pytest.mark.parametrize("scale", ["linear", "log"])
def test_the_legend_hides_least_of_the_lines(losses, scores, place, scale):
    _, ax = plt.subplots()
    ax.set_yscale(scale)
    display = LossCurveDisplay(losses=losses, validation_scores=scores).plot(ax)
    legend = display.validation_ax_.get_legend()
    if scale == "linear" and len(losses) > 1:
        assert legend._loc == matplotlib.legend.Legend.codes[place]


def test_fewer_scores_are_those_of_the_last_epochs():
    display = LossCurveDisplay(losses=[4, 3, 2, 1], validation_scores=[0.5, 0.6]).plot()
    np.testing.assert_array_equal(display.validation_line_.get_xdata(), [3, 4])


def test_a_single_epoch_shows():
    display = LossCurveDisplay(losses=[1.0], validation_scores=[0.5]).plot()
    assert display.line_.get_marker() == display.validation_line_.get_marker() == "o"


@pytest.mark.parametrize(
    ("solver", "step"),
    [("gd", "Epoch"), ("lbfgs", "Iteration"), ("random_search", "Trial")],
)
def test_steps_are_named_after_the_solver(solver, step):
    display = LossCurveDisplay.from_estimator(fitted(solver=solver))
    assert display.ax_.get_xlabel() == step


def test_curves_of_scikit_learn_estimators():
    X, y = blobs()
    model = MLPClassifier((4,), max_iter=3, early_stopping=True, random_state=0)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
    display = LossCurveDisplay.from_estimator(model)
    np.testing.assert_array_equal(display.losses, model.loss_curve_)
    np.testing.assert_array_equal(display.validation_scores, model.validation_scores_)


def test_estimators_without_a_curve():
    X, y = blobs()
    with pytest.raises(TypeError, match=r"estimator must be .*Regression without loss_curve_"):
        LossCurveDisplay.from_estimator(LogisticRegression().fit(X, y))
    model = fitted()
    model.loss_curve_ = []  # as when the first epoch overflows
    with pytest.raises(ValueError, match="estimator must have done an epoch"):
        LossCurveDisplay.from_estimator(model)


@pytest.mark.parametrize(
    ("losses", "scores", "error", "message"),
    [
        ([], None, ValueError, r"losses must be 1-D and not empty, got shape \(0,\)"),
        ([[1]], None, ValueError, r"losses must be 1-D and not empty, got shape \(1, 1\)"),
        (["a"], None, TypeError, "losses must hold real numbers"),
        ([1, 2], [], ValueError, "validation_scores must be 1-D and not empty"),
        ([1, 2], [1, 2, 3], ValueError, "validation_scores must be at most .* 2, got 3"),
    ],
)
def test_curves_of_data_that_do_not_fit(losses, scores, error, message):
    with pytest.raises(error, match=message):
        LossCurveDisplay(losses=losses, validation_scores=scores)


# ---- weights -------------------------------------------------------------------------------------


def test_gray_weights_share_one_scale_around_0():
    model = fitted()
    display = WeightsDisplay.from_estimator(model)
    assert display.image_shape == (3, 3)
    assert [ax.get_title() for ax in display.axes_] == ["0", "1", "2"]
    limit = np.abs(model.coef_).max()
    for image, row in zip(display.images_, model.coef_, strict=True):
        np.testing.assert_array_equal(image.get_array(), row.reshape(3, 3))
        assert image.get_clim() == (-limit, limit)
    assert display.colorbar_ is not None
    assert "Constrained" in type(display.figure_.get_layout_engine()).__name__


@pytest.mark.parametrize("shape", [(4, 5, 3), (3, 4, 5)])
def test_color_weights_have_0_at_mid_gray(shape, rng):
    weights = rng.standard_normal((2, 60)) * [[1.0], [100.0]]
    weights[:, 7] = 0
    display = WeightsDisplay(weights=weights, image_shape=shape).plot()
    assert display.colorbar_ is None
    for image, row in zip(display.images_, weights, strict=True):
        expected = row.reshape(shape) / np.abs(row).max() / 2 + 0.5
        if shape[0] == 3:
            expected = expected.transpose(1, 2, 0)
            assert image.get_array()[1, 2, 0] == 0.5
        else:
            assert image.get_array()[0, 2, 1] == 0.5
        np.testing.assert_allclose(image.get_array(), expected)


def test_weights_of_0():
    gray = WeightsDisplay(weights=np.zeros((2, 4))).plot()
    assert gray.images_[0].get_clim() == (-1, 1)
    color = WeightsDisplay(weights=np.zeros((2, 12)), image_shape=(2, 2, 3)).plot()
    assert (color.images_[0].get_array() == 0.5).all()


def test_images_of_cifar10_are_known():
    display = WeightsDisplay(weights=np.ones((1, 3072)))
    assert display.image_shape == (3, 32, 32)
    assert WeightsDisplay(weights=np.ones((1, 300)), image_shape=[10, 30]).image_shape == (10, 30)


def test_two_classes_have_one_template_of_the_second():
    X, y = blobs(n_classes=2)
    model = fitted(X_and_y=(X, np.array(["no", "yes"])[y]))
    display = WeightsDisplay.from_estimator(model)
    assert [ax.get_title() for ax in display.axes_] == ["yes"]
    np.testing.assert_array_equal(display.images_[0].get_array(), model.coef_.reshape(3, 3))
    display = WeightsDisplay.from_estimator(model, class_names=["bad", "good"])
    assert [ax.get_title() for ax in display.axes_] == ["good"]


def test_weights_of_scikit_learn_estimators():
    X, y = blobs()
    model = LogisticRegression().fit(X, y)
    display = WeightsDisplay.from_estimator(model, class_names=["a", "b", "c"], cmap="PuOr")
    np.testing.assert_array_equal(display.images_[2].get_array(), model.coef_[2].reshape(3, 3))
    assert display.axes_[2].get_title() == "c"
    assert display.images_[0].get_cmap().name == "PuOr"


def test_the_grid_of_templates():
    display = WeightsDisplay(weights=np.ones((7, 4))).plot(n_columns=3)
    grid = display.axes_[0].get_gridspec()
    assert (grid.nrows, grid.ncols) == (3, 3)
    assert display.axes_.shape == (7,)
    assert len(display.figure_.axes) == 8  # and the colorbar


def test_templates_on_given_axes():
    figure, grid = plt.subplots(2, 2)
    display = WeightsDisplay(weights=np.ones((4, 4))).plot(ax=grid)
    assert display.figure_ is figure
    assert list(display.axes_) == list(grid.ravel())
    with pytest.raises(ValueError, match=r"ax must be as many axes as .* templates, 3, got 4"):
        WeightsDisplay(weights=np.ones((3, 4))).plot(ax=grid)
    _, ax = plt.subplots()
    assert WeightsDisplay(weights=np.ones((1, 4))).plot(ax).axes_.tolist() == [ax]


@pytest.mark.parametrize(
    ("shape", "error", "message"),
    [
        (None, ValueError, "image_shape must be given, as 12 features are no square image"),
        ((3, 3), ValueError, r"image_shape must be .* a product of 12, .* got \(3, 3\)"),
        ((12,), ValueError, r"got \(12,\)"),
        ((2, 3, 2), ValueError, r"got \(2, 3, 2\)"),
        ((-3, -4), ValueError, r"got \(-3, -4\)"),
        (12, TypeError, "image_shape must be a tuple of integers, got 12"),
        ((3.0, 4.0), TypeError, "image_shape must be a tuple of integers"),
    ],
)
def test_image_shapes_that_do_not_fit(shape, error, message):
    with pytest.raises(error, match=message):
        WeightsDisplay(weights=np.ones((2, 12)), image_shape=shape)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: WeightsDisplay(weights=[1, 2]), ValueError, "weights must be 2-D and not empty"),
        (lambda: WeightsDisplay(weights=[["a"]]), TypeError, "weights must hold real numbers"),
        (
            lambda: WeightsDisplay(weights=np.ones((2, 4)), class_names=["a"]),
            ValueError,
            "class_names must be 2 names, got 1",
        ),
        (
            lambda: WeightsDisplay.from_estimator(fitted(), class_names=["a", "b"]),
            ValueError,
            "class_names must be 3 names, got 2",
        ),
        (
            lambda: WeightsDisplay(weights=np.ones((2, 4))).plot(n_columns=0),
            ValueError,
            "n_columns must be at least 1, got 0",
        ),
        (
            lambda: WeightsDisplay(weights=np.ones((2, 4))).plot(n_columns=1.5),
            TypeError,
            "n_columns must be an integer, got float",
        ),
        (
            lambda: WeightsDisplay.from_estimator(KMeans(2).fit(blobs()[0])),
            TypeError,
            "estimator must be a linear classifier, got KMeans without coef_ and classes_",
        ),
        (
            lambda: WeightsDisplay.from_estimator(LinearRegression().fit(*blobs())),
            TypeError,
            "got LinearRegression without classes_",
        ),
    ],
)
def test_weights_that_cannot_be_drawn(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_landscapes_with_class_weights_from_training(rng):
    """The rows shown may lack a class, and need not be balanced as those of training were."""
    X, y = rng.standard_normal((90, 4)), np.repeat([0, 1, 2], [50, 30, 10])
    model = SoftmaxClassifier(class_weight="balanced", max_iter=5, tol=None).fit(X, y)
    display = LossLandscapeDisplay.from_estimator(model, X[:80], y[:80])
    assert np.isfinite(display.losses).all()
