"""The tour of the models on one data set: choose on validation images, then test each once.

The list MODELS is all that has to change for another model.
"""

import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from .linear_model import SoftmaxClassifier, SVMClassifier
from .neighbors import KNeighborsClassifier
from .neural_network import MLPClassifier

METRICS = ("l1", "l2")
PENALTIES = (1e-3, 1e-2)
RATES = (1e-3, 1e-2)
HIDDEN_UNITS = 100
SHARES_DROPPED = (0.0, 0.5)
SEED = 0
# Steps of a training, of this many images each, as far as epochs within these limits allow.
N_STEPS, BATCH_SIZE = 4000, 256
FEWEST_EPOCHS, MOST_EPOCHS = 20, 200


@dataclass(frozen=True)
class Model:
    """A name, and a function that returns the candidates to choose from.

    The function gets the task, the number of threads, and the parameters of the best k-NN
    classifier.
    """

    name: str
    make_candidates: object
    # The parameters that are chosen.
    chosen: tuple


@dataclass
class Trial:
    """What one model does on one data set."""

    model: str
    parameters: dict
    validation_accuracy: float
    test_accuracy: float | None = None
    fit_seconds: float | None = None
    predict_seconds: float | None = None


def _make_nearest(task, n_threads, best_neighbors):
    return [KNeighborsClassifier(1, metric=metric, n_jobs=n_threads) for metric in METRICS]


def _make_neighbors(task, n_threads, best_neighbors):
    return [KNeighborsClassifier(**best_neighbors, n_jobs=n_threads)]


def _training(task, n_threads):
    """Return the parameters of all that descends in epochs."""
    steps_per_epoch = max(1, len(task.train) // BATCH_SIZE)
    return {
        "batch_size": min(BATCH_SIZE, len(task.train)),
        "max_iter": min(max(N_STEPS // steps_per_epoch, FEWEST_EPOCHS), MOST_EPOCHS),
        "tol": None,
        "random_state": SEED,
        "n_jobs": n_threads,
    }


def _make_linear(kind):
    def make(task, n_threads, best_neighbors):
        common = _training(task, n_threads) | {"learning_rate": "cosine"}
        return [
            kind(alpha=alpha, learning_rate_init=rate, **common)
            for alpha in PENALTIES
            for rate in RATES
        ]

    return make


def _make_network(task, n_threads, best_neighbors):
    common = _training(task, n_threads) | {"solver": "sgd", "learning_rate_init": 1e-2}
    return [MLPClassifier(HIDDEN_UNITS, dropout=share, **common) for share in SHARES_DROPPED]


MODELS = [
    Model("1-NN", _make_nearest, ("metric",)),
    Model("k-NN", _make_neighbors, ("metric", "n_neighbors", "weights")),
    Model("SVM", _make_linear(SVMClassifier), ("alpha", "learning_rate_init")),
    Model("softmax", _make_linear(SoftmaxClassifier), ("alpha", "learning_rate_init")),
    Model("network", _make_network, ("dropout",)),
]


@contextmanager
def _unwarned():
    """Steps that are too large for the data show in the table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def choose(model, task, n_threads, best_neighbors):
    """Return (trial, unfitted estimator) of a model's best candidate on the validation images.

    Of equal ones the first.
    """
    X, y = task.learning
    candidates = model.make_candidates(task, n_threads, best_neighbors)
    with _unwarned():
        scores = [
            clone(candidate)
            .fit(X[task.train], y[task.train])
            .score(X[task.validation], y[task.validation])
            for candidate in candidates
        ]
    best = int(np.argmax(scores))
    parameters = {name: getattr(candidates[best], name) for name in model.chosen}
    return Trial(model.name, parameters, float(scores[best])), candidates[best]


def test_once(trial, estimator, task):
    """Fit on training and validation images, test once, and note it in the trial."""
    start = time.perf_counter()
    with _unwarned():
        estimator.fit(*task.learning)
    fitted = time.perf_counter()
    predictions = estimator.predict(task.test.X)
    trial.predict_seconds = time.perf_counter() - fitted
    trial.fit_seconds = fitted - start
    trial.test_accuracy = float(np.mean(predictions == task.test.y))
    return estimator
