"""Linear classifiers: every solver against plain NumPy, scikit-learn, or the definition."""

import copy
import pickle
import sys
import warnings

import numpy as np
import pytest
from scipy.special import expit
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import AdaBoostClassifier, VotingClassifier
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

import children
import fastnn
import oracles
from fastnn._core.training._linear import LinearModel
from fastnn._training.data import mean_and_scale
from fastnn.linear_model import SoftmaxClassifier, SVMClassifier

CLASSIFIERS = {"svm": SVMClassifier, "softmax": SoftmaxClassifier}
SOLVERS = ("sgd", "gd", "lbfgs", "random_search", "random_local_search")
names_of_losses = pytest.mark.parametrize("loss", CLASSIFIERS)
solvers = pytest.mark.parametrize("solver", SOLVERS)
# The data are smaller than the default batch, and a few epochs do not converge.
brief = {"batch_size": 16, "max_iter": 5, "tol": None, "random_state": 0}


@parametrize_with_checks(
    [
        classifier(solver=solver, batch_size=32)
        for classifier in CLASSIFIERS.values()
        for solver in ("sgd", "gd", "lbfgs")
    ]
)
@pytest.mark.filterwarnings("ignore")  # about what the checks feed them
def test_scikit_learn_contract(estimator, check):
    """Nothing is expected to fail."""
    check(estimator)


@parametrize_with_checks([SVMClassifier(), SoftmaxClassifier()])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_contract_of_the_defaults(estimator, check):
    check(estimator)


def blobs(rng, n=100, d=7, n_classes=3, dtype=np.float64, spread=1.0):
    """Rows around a center for each class, and the classes."""
    centers = 2 * rng.standard_normal((n_classes, d))
    y = np.arange(n) % n_classes
    X = centers[y] + spread * rng.standard_normal((n, d))
    if dtype == np.uint8:
        X = np.clip(128 + 20 * X, 0, 255)
    return X.astype(dtype), y


def penalized_loss(model, X, y, loss):
    """The training loss by the book, at the weights of a model that was fit to floats."""
    labels = np.searchsorted(model.classes_, y)
    penalty = 0.5 * model.alpha * np.square(model.coef_, dtype=np.float64).sum()
    scores = X.astype(np.float64) @ model.coef_.T.astype(np.float64) + model.intercept_
    if scores.shape[1] == 1:
        scores = np.hstack([-scores / 2, scores / 2])
    weights = np.ones(len(y))
    if model.class_weight is not None:
        weights = np.array([model.class_weight[k] for k in y])
    losses = oracles.losses_of_scores(scores, labels, loss, dtype=np.float64)[0]
    return np.average(losses, weights=weights) + penalty


# ---- gradient descent ----------------------------------------------------------------------------


def descend(X, y, loss, alpha, rates, batch_size, momentum, nesterov, fit_intercept, weights=None):
    """The plainest gradient descent, rows in order: a list of step sizes for each epoch."""
    n_classes = y.max() + 1
    W, b = np.zeros((n_classes, X.shape[1])), np.zeros(n_classes)
    moves = [np.zeros_like(W), np.zeros_like(b)]
    weights = np.ones(len(y)) if weights is None else weights
    curve = []
    for rates_of_epoch in rates:
        total = 0.0
        for batch, start in enumerate(range(0, len(X), batch_size)):
            rows = slice(start, start + batch_size)
            losses, derivatives = oracles.losses_of_scores(
                X[rows] @ W.T + b, y[rows], loss, dtype=np.float64
            )
            n = len(losses)
            derivatives = derivatives * weights[rows, None] / n
            total += weights[rows] @ losses + n * alpha / 2 * (W * W).sum()
            gradients = [derivatives.T @ X[rows] + alpha * W, derivatives.sum(axis=0)]
            for k, (part, gradient) in enumerate(zip((W, b), gradients, strict=True)):
                moves[k] = momentum * moves[k] - rates_of_epoch[batch] * gradient
                step = moves[k]
                if nesterov:
                    step = momentum * moves[k] - rates_of_epoch[batch] * gradient
                if k == 0 or fit_intercept:
                    part += step
        curve.append(total / len(X))
    return W, b, curve


def assert_same_path(model, X, y, loss, rates, tolerance=1e-11, weights=None):
    batch_size = len(X) if model.solver == "gd" else model.batch_size
    W, b, curve = descend(
        X.astype(np.float64),
        y,
        loss,
        model.alpha,
        rates,
        batch_size,
        model.momentum,
        model.nesterovs_momentum,
        model.fit_intercept,
        weights,
    )
    np.testing.assert_allclose(model.coef_, W, rtol=0, atol=tolerance * np.abs(W).max())
    np.testing.assert_allclose(model.intercept_, b, rtol=0, atol=tolerance)
    np.testing.assert_allclose(model.loss_curve_, curve, rtol=tolerance)


@names_of_losses
@pytest.mark.parametrize("momentum", [0.0, 0.8])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_sgd_goes_the_way_of_the_oracle(loss, momentum, nesterov, fit_intercept, rng, isa):
    X, y = blobs(rng)
    arguments = {
        "alpha": 0.01,
        "learning_rate_init": 0.05,
        "momentum": momentum,
        "nesterovs_momentum": nesterov,
        "fit_intercept": fit_intercept,
        "shuffle": False,
    }
    rates = np.full((5, 7), 0.05)
    model = CLASSIFIERS[loss](**brief | arguments).fit(X, y)
    assert_same_path(model, X, y, loss, rates)
    assert (model.n_iter_, model.t_) == (5, 500)
    model = CLASSIFIERS[loss](**brief | arguments | {"solver": "gd"}).fit(X, y)
    assert_same_path(model, X, y, loss, rates)


@names_of_losses
def test_sgd_of_float32_goes_the_same_way(loss, rng, isa):
    X, y = blobs(rng, d=130, dtype=np.float32)
    model = CLASSIFIERS[loss](**brief, shuffle=False, momentum=0.5, nesterovs_momentum=False).fit(
        X, y
    )
    assert model.coef_.dtype == model.intercept_.dtype == np.float32
    assert_same_path(model, X, y, loss, np.full((5, 7), 1e-3), tolerance=1e-5)


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("constant", lambda epoch, t, done: 1.0),
        ("step", lambda epoch, t, done: 0.3 ** (epoch // 2)),
        ("cosine", lambda epoch, t, done: (1 + np.cos(np.pi * done)) / 2),
        ("invscaling", lambda epoch, t, done: (100 * epoch + 1) ** -0.4),
    ],
)
def test_schedules_of_the_step_size(schedule, factors, rng):
    X, y = blobs(rng)
    model = SoftmaxClassifier(
        **brief,
        learning_rate=schedule,
        learning_rate_init=0.02,
        decay_factor=0.3,
        decay_every=2,
        power_t=0.4,
        shuffle=False,
        momentum=0.0,
    ).fit(X, y)
    rates = [
        [0.02 * factors(epoch, 100 * epoch + t, (epoch + t / 100) / 5) for t in range(0, 100, 16)]
        for epoch in range(5)
    ]
    assert_same_path(model, X, y, "softmax", rates)


@names_of_losses
def test_rows_come_in_a_new_order_each_epoch(loss, rng):
    X, y = blobs(rng)
    first, again = (CLASSIFIERS[loss](**brief).fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(first.coef_, again.coef_)
    orders = np.random.RandomState(0)
    order = np.concatenate([orders.permutation(100) for _ in range(5)])
    W = np.zeros((3, 7))
    model = CLASSIFIERS[loss](**brief | {"max_iter": 1}, shuffle=False)
    model.set_params(warm_start=True, momentum=0.0)
    for epoch in range(5):
        rows = order[100 * epoch :][:100]
        model.fit(X[rows], y[rows])
        W = model.coef_
    plain = CLASSIFIERS[loss](**brief, momentum=0.0).fit(X, y)
    np.testing.assert_allclose(plain.coef_, W, atol=1e-12)


def test_two_classes_are_a_sigmoid_neuron(rng):
    """One row of weights, and the same steps as the neuron's."""
    X, y = blobs(rng, n_classes=2)
    arguments = {"alpha": 0.1, "momentum": 0.0, "shuffle": False, "learning_rate_init": 0.1}
    model = SoftmaxClassifier(**brief | arguments).fit(X, y)
    w, b = np.zeros(7), 0.0
    for _ in range(5):
        for start in range(0, 100, 16):
            rows = slice(start, start + 16)
            error = expit(X[rows] @ w + b) - y[rows]
            w, b = w - 0.1 * (error @ X[rows] / len(error) + 0.1 * w), b - 0.1 * error.mean()
    np.testing.assert_allclose(model.coef_, [w], atol=1e-12)
    np.testing.assert_allclose(model.intercept_, [b], atol=1e-12)
    probabilities = model.predict_proba(X)
    np.testing.assert_allclose(probabilities[:, 1], expit(X @ w + b), atol=1e-12)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-15)
    assert model.decision_function(X).shape == (100,)


# ---- the other solvers ---------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_lbfgs_finds_what_scikit_learn_finds(n_classes, fit_intercept, rng):
    X, y = blobs(rng, n_classes=n_classes, spread=3.0)
    model = SoftmaxClassifier(
        0.05, solver="lbfgs", tol=1e-9, fit_intercept=fit_intercept, max_iter=1000
    ).fit(X, y)
    theirs = LogisticRegression(
        C=1 / (0.05 * len(X)), tol=1e-9, fit_intercept=fit_intercept, max_iter=1000
    ).fit(X, y)
    np.testing.assert_allclose(model.coef_, theirs.coef_, atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(model.predict(X), theirs.predict(X))
    assert model.loss_curve_[-1] == pytest.approx(penalized_loss(model, X, y, "softmax"))
    assert len(model.loss_curve_) == model.n_iter_


@names_of_losses
@solvers
@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_last_loss_is_that_of_the_weights(loss, solver, n_classes, rng):
    X, y = blobs(rng, n_classes=n_classes)
    rate = 1e-9 if solver in ("sgd", "gd") else 0.1  # so small that an epoch is a moment
    weights = dict(zip(range(n_classes), (1.0, 3.0, 0.5, 2.0), strict=False))
    model = CLASSIFIERS[loss](
        **brief, alpha=0.3, solver=solver, learning_rate_init=rate, class_weight=weights
    ).fit(X, y)
    assert model.loss_curve_[-1] == pytest.approx(penalized_loss(model, X, y, loss), rel=1e-5)
    if solver not in ("sgd", "gd"):
        assert model.loss_curve_[-1] == pytest.approx(penalized_loss(model, X, y, loss), rel=1e-9)
        assert (np.diff(model.loss_curve_) <= 0).all()


@names_of_losses
@pytest.mark.parametrize("solver", ["random_search", "random_local_search"])
def test_searches_improve_on_the_start(loss, solver, rng):
    X, y = blobs(rng, n_classes=4)
    model = CLASSIFIERS[loss](
        solver=solver, learning_rate_init=0.2, max_iter=200, random_state=3
    ).fit(X, y)
    assert model.score(X, y) > 0.5
    assert model.n_iter_ == 200
    assert model.loss_curve_[-1] < model.loss_curve_[0] or model.loss_curve_[0] < 1.0


# ---- data ----------------------------------------------------------------------------------------


@names_of_losses
@solvers
def test_bytes_are_met_as_scaled_floats(loss, solver, rng, isa):
    X, y = blobs(rng, n=300, dtype=np.uint8)
    rate = 0.05 if solver.startswith("random") else 1e-3
    arguments = brief | {"solver": solver, "learning_rate_init": rate, "max_iter": 10}
    model = CLASSIFIERS[loss](**arguments).fit(X, y)
    rows = X[np.linspace(0, 299, 256).astype(int)].astype(np.float64)
    mean = rows.mean(axis=0)
    scale = 1 / np.sqrt(np.square(rows - mean).mean())
    floats = ((X - mean) * scale).astype(np.float32)
    expected = CLASSIFIERS[loss](**arguments).fit(floats, y)
    np.testing.assert_allclose(model.coef_, expected.coef_ * scale, rtol=2e-3, atol=2e-6)
    np.testing.assert_allclose(model.loss_curve_, expected.loss_curve_, rtol=1e-4)
    scores = model.decision_function(X)
    np.testing.assert_allclose(scores, expected.decision_function(floats), atol=2e-3)
    np.testing.assert_allclose(scores, model.decision_function(X.astype(np.float64)), atol=1e-4)
    assert model.coef_.dtype == np.float64


def test_bytes_without_an_intercept_are_scaled_alone(rng):
    X, y = blobs(rng, dtype=np.uint8)
    model = SoftmaxClassifier(**brief, fit_intercept=False).fit(X, y)
    np.testing.assert_array_equal(model.intercept_, 0.0)
    constant = np.full((20, 3), 7, np.uint8)
    model = SoftmaxClassifier(**brief).fit(constant, np.arange(20) % 2)
    assert np.isfinite(model.coef_).all()


@names_of_losses
@solvers
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_threads_change_nothing(loss, solver, dtype, rng):
    X, y = blobs(rng, n=2000, d=300, n_classes=10, dtype=dtype)
    models = [
        CLASSIFIERS[loss](
            **brief | {"batch_size": 500, "solver": solver, "max_iter": 3}, n_jobs=n_jobs
        ).fit(X, y)
        for n_jobs in (1, 2, 7)
    ]
    for other in models[1:]:
        np.testing.assert_array_equal(models[0].coef_, other.coef_)
        np.testing.assert_array_equal(models[0].intercept_, other.intercept_)
        np.testing.assert_array_equal(models[0].decision_function(X), other.decision_function(X))
        assert models[0].loss_curve_ == other.loss_curve_


@names_of_losses
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_batches_that_take_several_rounds(loss, dtype, rng):
    X, y = blobs(rng, n=9400, d=70, n_classes=4, dtype=dtype)
    parameters = {
        **brief,
        "momentum": 0.5,
        "nesterovs_momentum": False,
        "shuffle": False,
        "alpha": 0.1,
    }
    parameters |= {"batch_size": 4700, "max_iter": 1, "learning_rate_init": 0.1}
    models = [CLASSIFIERS[loss](**parameters, n_jobs=n_jobs).fit(X, y) for n_jobs in (1, 2, 7)]
    for other in models[1:]:
        np.testing.assert_array_equal(models[0].coef_, other.coef_)
        assert models[0].loss_curve_ == other.loss_curve_
    # Two steps by the book, from rest.
    rows = X.astype(np.float64)
    if dtype == np.uint8:
        mean, scale = mean_and_scale(X, centered=True)
        rows = (rows - mean) * scale
    W, velocity = np.zeros((2, 4, 71))
    for batch in (slice(4700), slice(4700, None)):
        gradient = oracles.linear_loss(W, rows[batch], y[batch], loss, l2=0.1, bias=True)[1]
        gradient[:, -1] -= 0.1 * W[:, -1]  # offsets are free
        velocity = 0.5 * velocity - 0.1 * gradient
        W += velocity
    coef = W[:, :-1] * (scale if dtype == np.uint8 else 1.0)
    np.testing.assert_allclose(models[0].coef_, coef, rtol=1e-3, atol=1e-4 * np.abs(coef).max())


@names_of_losses
def test_data_of_other_kinds(loss, rng, tmp_path):
    X, y = blobs(rng)
    expected = CLASSIFIERS[loss](**brief).fit(X, y).coef_
    X.flags.writeable = False
    mapped = np.memmap(tmp_path / "X", X.dtype, "w+", shape=X.shape)
    mapped[:] = X
    for kind in (X, np.asfortranarray(X), X.tolist(), np.repeat(X, 2, axis=0)[::2], mapped):
        np.testing.assert_array_equal(CLASSIFIERS[loss](**brief).fit(kind, y).coef_, expected)
    names = np.array(["cat", "dog", "owl"])
    model = CLASSIFIERS[loss](**brief).fit(X, names[y])
    np.testing.assert_array_equal(model.coef_, expected)
    assert set(model.predict(X)) <= set(names)
    integers = CLASSIFIERS[loss](**brief).fit(np.arange(40).reshape(20, 2), np.arange(20) % 2)
    assert integers.coef_.dtype == np.float64


@pytest.mark.parametrize(("n", "d"), [(2, 1), (2, 5), (3, 1), (40, 1)])
@solvers
def test_little_data(n, d, solver, rng):
    X = rng.standard_normal((n, d))
    model = SVMClassifier(**brief | {"batch_size": 2, "solver": solver}).fit(X, np.arange(n) % 2)
    assert model.coef_.shape == (1, d)
    assert model.predict(X[:1]).shape == (1,)


def test_classes_weigh_as_told(rng):
    X, y = blobs(rng)
    y = np.minimum(y, 1)  # twice as many of class 1
    balanced = SoftmaxClassifier(**brief, class_weight="balanced").fit(X, y)
    told = SoftmaxClassifier(**brief, class_weight={0: 2.0, 1: 1.0}).fit(X, y)
    ratio = (y == 1).sum() / (y == 0).sum()
    told.set_params(class_weight={0: ratio, 1: 1.0}).fit(X, y)
    np.testing.assert_allclose(balanced.coef_, told.coef_, atol=1e-12)
    scaled = clone(told).set_params(class_weight={0: 10 * ratio, 1: 10.0}).fit(X, y)
    np.testing.assert_allclose(scaled.coef_, told.coef_, atol=1e-12)
    weights = np.where(y == 0, ratio, 1.0)
    three = SVMClassifier(
        **brief, shuffle=False, class_weight={0: 3.0, 1: 1.0, 2: 0.5}, nesterovs_momentum=False
    )
    X, y = blobs(rng)
    weights = np.array([3.0, 1.0, 0.5])[y]
    three.fit(X, y)
    rates = np.full((5, 7), 1e-3)
    assert_same_path(three, X, y, "svm", rates, weights=weights / weights.mean())


# ---- when training ends --------------------------------------------------------------------------


def test_training_ends_when_the_loss_stays(rng):
    X, y = blobs(rng)
    model = SoftmaxClassifier(
        alpha=0.1, batch_size=16, learning_rate_init=0.05, tol=1e-3, n_iter_no_change=3
    ).fit(X, y)
    assert 5 < model.n_iter_ < 200
    curve = np.array(model.loss_curve_)
    best_before = np.minimum.accumulate(curve)[:-1]
    waited = curve[1:] > best_before - 1e-3
    assert waited[-4:].all()
    longest = max(len(run) for run in "".join("x" if w else " " for w in waited[:-1]).split(" "))
    assert longest <= 3


@pytest.mark.parametrize("solver", ["sgd", "gd", "lbfgs"])
def test_max_iter_warns(solver, rng):
    X, y = blobs(rng)
    model = SoftmaxClassifier(solver=solver, batch_size=16, max_iter=2, tol=1e-12)
    with pytest.warns(ConvergenceWarning) as record:
        model.fit(X, y)
    assert record[0].filename == __file__
    assert model.n_iter_ == 2
    model.set_params(tol=None).fit(X, y)  # and no warning


def test_early_stopping_keeps_the_best_weights(rng):
    X, y = blobs(rng, n=300, spread=6.0)
    model = SoftmaxClassifier(
        batch_size=16,
        learning_rate_init=0.5,
        early_stopping=True,
        validation_fraction=0.2,
        n_iter_no_change=4,
        random_state=0,
    ).fit(X, y)
    assert len(model.validation_scores_) == model.n_iter_ < 200
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.t_ == 240 * model.n_iter_
    from sklearn.model_selection import train_test_split

    _, held_out = train_test_split(
        np.arange(300), test_size=0.2, stratify=y, random_state=np.random.RandomState(0)
    )
    assert model.score(X[held_out], y[held_out]) == model.best_validation_score_
    assert SoftmaxClassifier(**brief).fit(X, y).validation_scores_ is None
    model.set_params(validation_fraction=0.001).fit(X, y)  # one row, hence not of each class
    with pytest.raises(ValueError, match=r"validation_fraction=0.999 sets aside 300 of 300 rows"):
        model.set_params(validation_fraction=0.999).fit(X, y)


@names_of_losses
@pytest.mark.parametrize("solver", ["sgd", "gd"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_divergence_leaves_the_last_finite_weights(loss, solver, dtype, rng):
    X, y = blobs(rng, dtype=dtype)
    model = CLASSIFIERS[loss](
        alpha=1.0, solver=solver, batch_size=16, learning_rate_init=1e3, max_iter=500, tol=None
    )
    with pytest.warns(
        ConvergenceWarning, match="loss was not finite in epoch .*learning_rate"
    ) as w:
        model.fit(X, y)
    assert len(w) == 1
    assert w[0].filename == __file__
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.intercept_).all()
    assert np.isfinite(model.loss_curve_).all()
    # At once: the weights of the start, or those of the single step of an epoch.
    with pytest.warns(ConvergenceWarning, match="in epoch"):
        model.set_params(learning_rate_init=1e300).fit(X, y)
    assert np.isfinite(model.coef_).all()
    assert (solver == "gd") or not model.coef_.any()
    model.predict(X)


@pytest.mark.parametrize("solver", ["lbfgs", "random_search", "random_local_search"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_overflow_in_other_solvers_leaves_finite_weights(solver, rng):
    X, y = blobs(rng)
    model = SVMClassifier(solver=solver, max_iter=5, learning_rate_init=1e200, random_state=0)
    model.fit(1e200 * X, y)
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.loss_curve_).all()


# ---- going on ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@names_of_losses
def test_partial_fit_is_an_epoch(loss, dtype, rng):
    """Momentum and random order go on: as many calls are as good as one fit."""
    X, y = blobs(rng, dtype=dtype)
    whole = CLASSIFIERS[loss](**brief, learning_rate="cosine").fit(X, y)
    parts = CLASSIFIERS[loss](**brief, learning_rate="cosine")
    for _ in range(5):
        assert parts.partial_fit(X, y, classes=[0, 1, 2]) is parts
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(parts.coef_, whole.coef_, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(parts.loss_curve_, whole.loss_curve_, rtol=tolerance)
    assert (parts.t_, parts.n_iter_) == (whole.t_, whole.n_iter_)


def test_partial_fit_on_some_classes(rng):
    X, y = blobs(rng)
    model = SVMClassifier(**brief).partial_fit(X[y < 2], y[y < 2], classes=[2, 0, 1])
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
    model.partial_fit(X[:3], y[:3])
    with pytest.raises(ValueError, match=r"classes not in `self.classes_`"):
        model.partial_fit(X, y + 1)
    with pytest.raises(ValueError, match="is expecting 7 features"):
        model.partial_fit(X[:, 1:], y)
    with pytest.raises(ValueError, match="not the same as on last call"):
        model.partial_fit(X, y, classes=[0, 1])


def test_partial_fit_refuses(rng):
    X, y = blobs(rng)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        SVMClassifier(**brief).partial_fit(X, y)
    with pytest.raises(ValueError, match="at least 2 classes"):
        SVMClassifier(**brief).partial_fit(X, np.zeros(100, int), classes=[0])
    with pytest.raises(ValueError, match="does not support early_stopping"):
        SVMClassifier(early_stopping=True).partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="'balanced' is not supported by partial_fit"):
        SVMClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])
    for solver in SOLVERS[1:]:
        assert not hasattr(SVMClassifier(solver=solver), "partial_fit")
    assert hasattr(SVMClassifier(), "partial_fit")


@solvers
@pytest.mark.parametrize("dtype", [np.float64, np.uint8])
def test_warm_start_goes_on(solver, dtype, rng):
    X, y = blobs(rng, dtype=dtype)
    model = SoftmaxClassifier(**brief, solver=solver, warm_start=True).fit(X, y)
    before = model.loss_curve_[-1]
    model.fit(X, y)
    assert len(model.loss_curve_) == 10 if solver != "lbfgs" else True
    assert model.n_iter_ == 5 or solver == "lbfgs"
    assert model.loss_curve_[-1] <= before
    with pytest.raises(ValueError, match="same classes as in the previous"):
        model.fit(X, y % 2)
    with pytest.raises(ValueError, match="is expecting 7 features"):
        model.fit(X[:, 1:], y)
    cold = model.set_params(warm_start=False).fit(X, y)
    again = SoftmaxClassifier(**brief, solver=solver).fit(X, y)
    np.testing.assert_array_equal(cold.coef_, again.coef_)


@names_of_losses
@solvers
def test_pickles_and_copies(loss, solver, rng):
    X, y = blobs(rng)
    model = CLASSIFIERS[loss](**brief, solver=solver).fit(X, y)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(other.decision_function(X), model.decision_function(X))
        if solver == "sgd":
            other.partial_fit(X, y)
    assert not hasattr(clone(model), "coef_")


# ---- bad input -----------------------------------------------------------------------------------


@names_of_losses
@solvers
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_data_that_are_not_finite(loss, solver, bad, rng):
    X, y = blobs(rng)
    X[50, 3] = bad
    model = CLASSIFIERS[loss](**brief, solver=solver)
    with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
        model.fit(X, y)
    with pytest.raises(ValueError, match="Input X contains"):
        model.set_params(early_stopping=True).fit(X, y)
    fitted = CLASSIFIERS[loss](**brief).fit(np.delete(X, 50, axis=0), np.delete(y, 50))
    for method in ("predict", "decision_function", "predict_proba"):
        if hasattr(fitted, method):
            with pytest.raises(ValueError, match="Input X contains"):
                getattr(fitted, method)(X)


@names_of_losses
def test_bad_data(loss, rng):
    X, y = blobs(rng)
    model = CLASSIFIERS[loss](**brief)
    for bad_X, bad_y, message in [
        (X, np.zeros(100), "at least 2 classes, got one class"),
        (X, rng.random(100), "Unknown label type"),
        (X, y[:50], "inconsistent numbers of samples"),
        (X[0], y, "Expected 2D array"),
        (X[:0], y[:0], "0 sample"),
        (X[:, :0], y, "0 feature"),
        (X, np.where(y == 0, np.nan, y), "Input y contains NaN"),
        (X, np.eye(3)[y], "1d array"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.fit(bad_X, bad_y)
    with pytest.raises(NotFittedError):
        CLASSIFIERS[loss]().predict(X)
    with pytest.raises(ValueError, match="is expecting 7 features"):
        model.fit(X, y).predict(X[:, 1:])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alpha", -1.0),
        ("alpha", "weak"),
        ("solver", "newton"),
        ("batch_size", 0),
        ("batch_size", 1.5),
        ("learning_rate_init", 0.0),
        ("learning_rate", "falling"),
        ("momentum", 1.1),
        ("nesterovs_momentum", "yes"),
        ("max_iter", 0),
        ("tol", -1e-3),
        ("n_iter_no_change", 0),
        ("early_stopping", None),
        ("validation_fraction", 1.0),
        ("warm_start", None),
        ("fit_intercept", "no"),
        ("class_weight", "heavy"),
        ("shuffle", None),
        ("random_state", "x"),
        ("decay_factor", 0.0),
        ("decay_every", 0),
        ("power_t", -1.0),
        ("verbose", "loud"),
        ("n_jobs", 1.5),
    ],
)
def test_bad_parameters(name, value, rng):
    X, y = blobs(rng)
    with pytest.raises(ValueError, match=f"The '{name}' parameter of SVMClassifier must be"):
        SVMClassifier(**{name: value}).fit(X, y)


def test_batches_larger_than_the_data_are_clipped(rng):
    X, y = blobs(rng)
    clipped = SVMClassifier(**brief | {"batch_size": 1000})
    with pytest.warns(UserWarning, match=r"Got `batch_size` = 1000.*100.*clipped") as record:
        clipped.fit(X, y)
    assert record[0].filename == __file__
    np.testing.assert_array_equal(
        clipped.coef_, SVMClassifier(**brief | {"batch_size": 100}).fit(X, y).coef_
    )


# ---- company -------------------------------------------------------------------------------------


@solvers
def test_a_bar_shows_progress_and_loss(solver, rng, capsys):
    X, y = blobs(rng)
    SoftmaxClassifier(**brief, solver=solver, verbose=True).fit(X, y)
    shown = capsys.readouterr().err
    assert "SoftmaxClassifier" in shown
    assert "loss=" in shown
    unit = {"sgd": "rows", "gd": "rows", "lbfgs": "iterations"}.get(solver, "trials")
    assert unit in shown
    SoftmaxClassifier(**brief, solver=solver).fit(X, y)
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent the POSIX way")
def test_interrupt_takes_effect_and_keeps_the_weights():
    out, error = children.interrupt("""
import io, sys
import numpy as np
from fastnn.linear_model import SoftmaxClassifier

class Progress(io.StringIO):
    def write(self, text):
        if "loss=" in text:  # at least one epoch has changed the weights
            print("started", flush=True)
        return len(text)

rng = np.random.default_rng(0)
X, y = rng.integers(0, 256, (20_000, 1000), dtype=np.uint8), rng.integers(0, 10, 20_000)
model = SoftmaxClassifier(max_iter=100_000, tol=None, learning_rate_init=1e-5, verbose=True)
sys.stderr = Progress()
try:
    model.fit(X, y)
except KeyboardInterrupt:
    sys.stderr = sys.__stderr__
    print("interrupted", model.coef_.any(), np.isfinite(model.coef_).all(), flush=True)
""")
    assert out.splitlines()[-1] == "interrupted True True", error


def test_module_is_public():
    assert fastnn.linear_model.SVMClassifier is SVMClassifier


# ---- errors change nothing -----------------------------------------------------------------------


def state_of(model):
    held = dict(vars(model))
    if held.get("_random_state") is not None:
        held["_random_state"] = [part for part in held["_random_state"].get_state()]
    if "_targets" in held:
        held["_targets"] = vars(held["_targets"])
    return copy.deepcopy(held)


@names_of_losses
@pytest.mark.parametrize("solver", ["sgd", "gd", "lbfgs"])
def test_a_fit_that_fails_leaves_the_model_as_it_was(loss, solver, rng):
    X, y = blobs(rng)
    bad = X.copy()
    bad[3, 2] = np.nan
    model = CLASSIFIERS[loss](**brief | {"solver": solver, "max_iter": 200})
    with pytest.raises(ValueError, match="NaN"):
        model.fit(bad, y)
    with pytest.raises(NotFittedError):
        model.predict(X)
    model.fit(X, y)
    before = state_of(model)
    for warm_start in (False, True):
        with pytest.raises(ValueError, match="NaN"):
            model.set_params(warm_start=warm_start).fit(bad, y)
        np.testing.assert_equal(state_of(model.set_params(warm_start=False)), before)


@names_of_losses
def test_a_part_that_fails_leaves_the_model_as_it_was(loss, rng):
    X, y = blobs(rng)
    bad = X.copy()
    bad[3, 2] = np.inf
    model, other = (CLASSIFIERS[loss](**brief) for _ in range(2))
    with pytest.raises(ValueError, match=r"not in `self\.classes_`"):
        model.partial_fit(X, y, classes=[0, 1])
    for _ in range(3):
        model.partial_fit(X, y, classes=[0, 1, 2])
        other.partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="infinity"):
        model.partial_fit(bad, y)
    model.partial_fit(X, y)
    other.partial_fit(X, y)
    np.testing.assert_equal(state_of(model), state_of(other))


# ---- what a user should hear of ------------------------------------------------------------------


@names_of_losses
@pytest.mark.parametrize("tol", [1e-4, None])
def test_a_loss_that_rises_is_no_convergence(loss, tol, rng):
    X, y = blobs(rng)
    model = CLASSIFIERS[loss](
        alpha=0.1, learning_rate_init=100.0, max_iter=20, tol=tol, random_state=0
    )
    with pytest.warns(ConvergenceWarning, match="The loss has risen from .* now 100.0") as record:
        model.fit(X, y)
    assert record[0].filename == __file__


def test_lbfgs_that_does_nothing_says_so(rng):
    X, y = blobs(rng, dtype=np.float32)
    X[3, 2] = 3e38
    with pytest.warns(ConvergenceWarning, match="L-BFGS ended without convergence after 0"):
        SoftmaxClassifier(solver="lbfgs", tol=None).fit(X, y)


@pytest.mark.parametrize("weight", [np.nan, np.inf, -1.0, 0.0])
def test_bad_class_weights(weight, rng):
    X, y = blobs(rng)
    model = SoftmaxClassifier(**brief, class_weight=dict.fromkeys(range(3), weight))
    for fit in (model.fit, lambda X, y: model.partial_fit(X, y, classes=[0, 1, 2])):
        with pytest.raises(ValueError, match="class_weight must hold finite numbers of at least 0"):
            fit(X, y)


def test_nobody_is_told_of_a_batch_size_that_nobody_asked_for(rng, recwarn):
    SoftmaxClassifier(max_iter=3, tol=None).fit(*blobs(rng))
    assert not recwarn.list


def test_what_belongs_to_a_fit_before_goes(rng):
    X, y = blobs(rng)
    model = SoftmaxClassifier(**brief, early_stopping=True).fit(X, y)
    assert model.validation_scores_
    model.set_params(early_stopping=False).partial_fit(X, y)
    assert (model.validation_scores_, model.best_validation_score_) == (None, None)
    for solver in ("sgd", "lbfgs"):
        model = SoftmaxClassifier(**brief, warm_start=True).fit(X, y)
        model.set_params(solver=solver, fit_intercept=False).fit(X, y)
        np.testing.assert_array_equal(model.intercept_, 0.0)


def test_the_bar_is_full_in_the_end(rng, capsys):
    X, y = blobs(rng)
    SoftmaxClassifier(verbose=True, tol=1.0, n_iter_no_change=2, max_iter=200).fit(X, y)
    assert "100%" in capsys.readouterr().err


# ---- weights of rows -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "solver"), [("softmax", "lbfgs"), ("softmax", "gd"), ("svm", "gd")]
)
@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 3.0, 1: 1.0, 2: 0.5}])
def test_weights_count_as_so_many_rows(name, solver, class_weight, rng):
    X, y = blobs(rng, 90, 5, spread=3.0)
    weights = rng.integers(0, 4, 90)
    model = CLASSIFIERS[name](solver=solver, class_weight=class_weight, max_iter=200, tol=1e-7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        ours = clone(model).fit(X, y, sample_weight=2.5 * weights)
        repeated = clone(model).fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    np.testing.assert_allclose(ours.coef_, repeated.coef_, atol=1e-4)
    np.testing.assert_allclose(ours.intercept_, repeated.intercept_, atol=1e-4)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_equal_weights_change_nothing(name, rng):
    X, y = blobs(rng)
    model = CLASSIFIERS[name](**brief)
    ours, plain = clone(model).fit(X, y, sample_weight=np.full(100, 7.0)), clone(model).fit(X, y)
    np.testing.assert_allclose(ours.coef_, plain.coef_, rtol=1e-12)
    ours = clone(model).partial_fit(X, y, [0, 1, 2], np.full(100, 7.0))
    plain = clone(model).partial_fit(X, y, [0, 1, 2])
    np.testing.assert_allclose(ours.coef_, plain.coef_, rtol=1e-12)


@pytest.mark.parametrize("batch_size", [16, 32])
@names_of_losses
def test_batches_without_weight_change_nothing(loss, batch_size, rng):
    """Nor does momentum carry the weights on there."""
    X, y = blobs(rng, 96)
    weights = np.repeat([1.0, 0.0, 1.0], 32)
    kept = weights > 0
    results = []
    for rows, of_rows in ((np.ones(96, bool), weights), (kept, None)):
        some = None if of_rows is None else of_rows[rows]
        model = LinearModel(X[rows], 3, y[rows], loss, alpha=0.1, sample_weights=some)
        order = np.arange(rows.sum())
        model.train(order, batch_size, np.full(len(order) // batch_size, 0.1), 0.9, True)
        results.append((model.get_weights(), model.get_moments()))
    np.testing.assert_equal(*results)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_stream_without_weight_teaches_nothing(name, rng):
    X, y = blobs(rng)
    model = CLASSIFIERS[name](**brief).partial_fit(X, y, [0, 1, 2])
    before = model.coef_.copy(), model.intercept_.copy(), model.n_iter_, list(model.loss_curve_)
    model.partial_fit(X, y, sample_weight=np.zeros(100))
    np.testing.assert_array_equal(model.coef_, before[0])
    np.testing.assert_array_equal(model.intercept_, before[1])
    assert (model.n_iter_, model.loss_curve_) == before[2:]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_wrong_weights(name, rng):
    X, y = blobs(rng)
    for bad in (np.ones(3), -np.ones(100), np.zeros(100), np.full(100, np.nan), np.ones((100, 1))):
        with pytest.raises(ValueError, match="sample_weight must"):
            CLASSIFIERS[name](**brief).fit(X, y, sample_weight=bad)


def test_meta_estimators_hand_weights_on(rng):
    X, y = blobs(rng)
    weights = rng.random(100) + 0.1
    for classifier in CLASSIFIERS.values():
        model = classifier(**brief)
        for meta in (
            AdaBoostClassifier(model, n_estimators=3, random_state=0),
            VotingClassifier([("one", model)]),
            CalibratedClassifierCV(model, cv=3),
        ):
            assert meta.fit(X, y, sample_weight=weights).score(X, y) > 0.8


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_lbfgs_of_float32_is_not_stopped_by_its_rounding(scale, rng):
    """It ends where that of float64 does, or says that it has not come there."""
    X, y = blobs(rng, 400, 4, spread=4.0)
    X = (X + 3) * [1.0, 1.0, scale, 1.0]
    losses = []
    for dtype in (np.float64, np.float32):
        model = SoftmaxClassifier(1e-3, solver="lbfgs", max_iter=3000)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            model.fit(X.astype(dtype), y)
        assert model.coef_.dtype == dtype
        losses.append(penalized_loss(model, X, y, "softmax"))
        assert seen or losses[-1] < losses[0] * (1 + 1e-4)
