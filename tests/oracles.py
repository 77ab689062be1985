"""The naive NumPy truth of every kernel: float64 (or longdouble), by the book, no tricks."""

import functools

import numpy as np


def remember(function, size=8):
    """Keep the last results: the same rows come again with another k or radius."""
    kept = {}

    @functools.wraps(function)
    def call(X, Y, *rest):
        key = (*((rows.shape, rows.dtype, rows.tobytes()) for rows in (X, Y)), rest)
        if key not in kept:
            if len(kept) == size:
                del kept[next(iter(kept))]
            kept[key] = function(X, Y, *rest)
        return kept[key]

    return call


def assert_same(found, expected):
    """Indices and distances are identical, to the last bit."""
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_array_equal(found[0], expected[0])
    assert found[0].dtype == np.float64
    assert found[1].dtype == np.int64


def centered_rows(X):
    """Rows less their means; of constant ones nothing is left. Large ones are scaled exactly."""
    X = np.array([np.ldexp(row, -np.frexp(np.abs(row).max())[1]) for row in X])
    X[(X[:, :1] == X).all(axis=1)] = 0.0
    return X - X.mean(axis=1, keepdims=True)


def points_of_angles(X):
    """Rows of latitude and longitude, as points of the unit sphere."""
    latitude, longitude = X.astype(np.float64).T
    return np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude),
         np.sin(latitude)], axis=1,
    )  # fmt: skip


def distances(X, Y, metric, dtype=np.float64):
    """All distances between rows, each a plain sum over the difference of two rows.

    `metric` may be "cosine", "correlation", "haversine", or ("minkowski", p, weights).
    """
    if metric == "correlation":
        X, Y = (rows.astype(np.float64) for rows in (X, Y))
        X, Y = (centered_rows(rows) for rows in (X, Y))
        metric = "cosine"
    if metric == "haversine":
        chords = distances(points_of_angles(X), points_of_angles(Y), "l2")
        return 2.0 * np.arcsin(np.minimum(0.5 * chords, 1.0))
    if metric == "cosine":
        return np.minimum(0.5 * distances(unit_rows(X), unit_rows(Y), "sqeuclidean"), 2.0)
    X, Y = X.astype(dtype), Y.astype(dtype)
    weights = np.ones(X.shape[1])
    if isinstance(metric, tuple):
        weights, metric = np.array(metric[2]), f"l{metric[1]}"
    result = np.empty((len(X), len(Y)), dtype)
    with np.errstate(over="ignore", under="ignore"):
        for i, x in enumerate(X):
            difference = x - Y
            if metric == "chebyshev":
                result[i] = np.abs(difference).max(axis=1)
                continue
            terms = np.abs(difference) if metric == "l1" else difference * difference
            terms[:, weights == 0.0] = 0.0  # also where they overflow
            result[i] = (weights * terms).sum(axis=1)
    return np.sqrt(result) if metric == "l2" else result


def promised_error(dtype, metric):
    """The relative error of an entry of pairwise distances."""
    if dtype == np.float64:
        return 1e-12
    # The rounding to float32 is most of that of L1.
    return {"l1": 2.0**-24 + 1e-9, "l2": 1e-6, "sqeuclidean": 2e-6}[metric]


def unit_rows(X):
    """Rows divided by their norms, and a column that tells rows of zeros."""
    X = X.astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        squares = (X * X).sum(axis=1)
        extreme = ~((squares >= 2.0**-400) & np.isfinite(squares))
        exponents = np.clip(np.frexp(np.abs(X[extreme]).max(axis=1, initial=0.0))[1], -1000, 1000)
        X[extreme] *= 2.0 ** -exponents.astype(float)[:, None]
        norms = np.sqrt((X * X).sum(axis=1))
        zero = norms == 0.0
        return np.column_stack([X / np.where(zero, 1.0, norms)[:, None], zero])


@remember
def in_order(X, Y, metric):
    """All distances and rows of Y by (distance, index) for each row of X."""
    all_distances = distances(X, Y, metric)
    order = np.argsort(all_distances, axis=1, kind="stable")
    return np.take_along_axis(all_distances, order, axis=1), order


def kneighbors(X, Y, k, metric):
    """The k first rows of Y by (distance, index) for each row of X."""
    return tuple(whole[:, :k].copy() for whole in in_order(X, Y, metric))


def kneighbors_of_itself(X, k, metric):
    """The k first other rows; where k + 1 duplicates displace a row, the first of them is left."""
    return without_itself(*kneighbors(X, X, k + 1, metric), np.arange(len(X)))


def without_itself(distances, indices, rows):
    """The neighbors but each row itself, or the first where it is not among them."""
    kept = indices != np.reshape(rows, (-1, 1))
    kept[kept.all(axis=1), 0] = False
    shape = len(kept), -1
    return distances[kept].reshape(shape), indices[kept].reshape(shape)


def radius_neighbors(X, Y, radius, metric, exclude_self=False):
    """For each row of X the (distances, indices) of the rows of Y within the radius, in order."""
    found = []
    for i, (row, order) in enumerate(zip(*in_order(X, Y, metric), strict=True)):
        kept = (row <= radius) & ~(exclude_self & (order == i))
        found.append((row[kept], order[kept]))
    return found


def votes(neighbors, labels, n_classes, weights=None):
    """Sums of weights per class, neighbor by neighbor."""
    sums = np.zeros((len(neighbors), n_classes))
    for i, row in enumerate(neighbors):
        for j, neighbor in enumerate(row):
            sums[i, labels[neighbor]] += 1.0 if weights is None else weights[i, j]
    return sums


def losses_of_scores(scores, y, loss, margin=1.0, dtype=np.longdouble):
    """Return each row's loss, and its derivatives with respect to the row's scores."""
    scores = np.asarray(scores).astype(dtype)
    if loss in TARGET_LOSSES:
        losses, derivatives = TARGET_LOSSES[loss](scores, np.asarray(y).astype(dtype), margin)
        return losses.sum(axis=1), derivatives
    rows, right = np.arange(len(scores)), np.eye(scores.shape[1], dtype=dtype)[y]
    if loss == "svm":
        excess = scores - scores[rows, y][:, None] + margin * (1 - right)
        wrong = (excess > 0) & (right == 0)
        derivatives = wrong - wrong.sum(axis=1, keepdims=True) * right
        return np.where(wrong, excess, 0).sum(axis=1), derivatives
    shifted = scores - scores.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    sums = exponentials.sum(axis=1)
    return np.log(sums) - shifted[rows, y], exponentials / sums[:, None] - right


def _poisson(s, t, margin):
    constant = np.where(t > 0, t * np.log(np.where(t > 0, t, 1)), 0) - t
    return np.exp(s) - t * s + constant, np.exp(s) - t


def _hinge(s, t, margin):
    sign = 2 * t - 1
    missing = margin - sign * s
    return np.maximum(missing, 0), np.where(missing > 0, -sign, 0)


# Of scores and what is wanted: losses and derivatives of each.
TARGET_LOSSES = {
    "squared_error": lambda s, t, margin: ((s - t) ** 2 / 2, s - t),
    "poisson": _poisson,
    "log_loss": lambda s, t, margin: (np.logaddexp(0, s) - t * s, 1 / (1 + np.exp(-s)) - t),
    "hinge": _hinge,
}


def linear_loss(
    W, X, y, loss, l2=0.0, bias=False, margin=1.0, mean=0.0, scale=1.0, sample_weight=None
):
    """Return the loss and its gradient; the constant feature is stored."""
    X = (np.asarray(X).astype(np.float64) - mean) * scale
    X = np.hstack([X, np.ones((len(X), 1))]) if bias else X
    W = np.asarray(W).astype(np.float64)
    weights = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight)
    weights = weights / weights.sum()
    losses, derivatives = losses_of_scores(X @ W.T, y, loss, margin, np.float64)
    gradient = (derivatives * weights[:, None]).T @ X + l2 * W
    return weights @ losses + 0.5 * l2 * (W * W).sum(), gradient


def _slopes(gate, a, b, value):
    """Return a gate's local derivatives with respect to its inputs."""
    one = np.ones_like(a)
    return {
        "add": lambda: (one, one),
        "subtract": lambda: (one, -one),
        "multiply": lambda: (b, a),
        "divide": lambda: (1 / b, -a / b**2),
        "max": lambda: (a >= b, a < b),
        "power": lambda: (b * a ** (b - 1), value * np.log(a)),
        "negate": lambda: (-one, 0 * one),
        "exp": lambda: (value, 0 * one),
        "log": lambda: (1 / a, 0 * one),
        "tanh": lambda: (1 - value**2, 0 * one),
        "sigmoid": lambda: (value * (1 - value), 0 * one),
        "relu": lambda: (a > 0, 0 * one),
    }[gate]()


GATE_VALUES = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "max": np.maximum,
    "power": lambda a, b: a**b,
    "negate": lambda a, b: -a,
    "exp": lambda a, b: np.exp(a),
    "log": lambda a, b: np.log(a),
    "tanh": lambda a, b: np.tanh(a),
    "sigmoid": lambda a, b: 1 / (1 + np.exp(-a)),
    "relu": lambda a, b: np.maximum(a, 0),
}


def circuit(steps, leaves, dtype=np.longdouble):
    """Evaluate a formula and its derivatives by the chain rule forward, one leaf after the other.

    `steps` are (gate, i, j): the gate's inputs are the i-th and j-th of leaves and earlier outputs.
    `leaves` has a row for each leaf. Return the last output and its derivatives, one for each leaf.
    """
    leaves = np.asarray(leaves).astype(dtype)
    values = list(leaves)
    tangents = list(np.eye(len(leaves), dtype=dtype)[:, :, None] * np.ones_like(leaves[0]))
    for gate, i, j in steps:
        a, b = values[i], values[j]
        values.append(GATE_VALUES[gate](a, b))
        slopes = _slopes(gate, a, b, values[-1])
        tangents.append(slopes[0] * tangents[i] + slopes[1] * tangents[j])
    return values[-1], tangents[-1]


def network(X, labels, weights, offsets, activation, loss, alpha):
    """Return scores, mean loss, and its gradients by weights of (n_in, n_out) and by offsets."""
    outputs = [np.asarray(X).astype(np.float64)]
    for i, (W, b) in enumerate(zip(weights, offsets, strict=True)):
        sums = outputs[-1] @ W + b
        outputs.append(ACTIVATIONS[activation](sums) if i < len(weights) - 1 else sums)
    n = len(X)
    losses, slopes = losses_of_scores(outputs[-1], labels, loss, 1.0, np.float64)
    value = losses.mean() + 0.5 * alpha * sum((W * W).sum() for W in weights) / n
    gradients, of_offsets = [], []
    for i in reversed(range(len(weights))):
        gradients.insert(0, (outputs[i].T @ slopes + alpha * weights[i]) / n)
        of_offsets.insert(0, slopes.sum(axis=0) / n)
        if i > 0:
            slopes = slopes @ weights[i].T * ACTIVATION_SLOPES[activation](outputs[i])
    return outputs[-1], value, gradients, of_offsets


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "identity": lambda x: x,
}
# By what comes out.
ACTIVATION_SLOPES = {
    "relu": lambda out: out > 0,
    "tanh": lambda out: 1 - out**2,
    "logistic": lambda out: out * (1 - out),
    "identity": np.ones_like,
}
