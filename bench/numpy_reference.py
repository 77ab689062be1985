"""Pure NumPy contestants: what a careful user of NumPy writes in place of a compiled package.

Distances of bytes are worked out in float32, which is faster than NumPy's integers.
"""

import numpy as np

# Values of a temporary array, so that it stays in a core's L2 cache: 512 KiB in float32.
L1_BLOCK_VALUES = 1 << 17
# Values of a chunk of the matrix of distances: 32 MiB in float32.
CHUNK_VALUES = 1 << 23


def _as_float(X):
    return X.astype(np.float32) if X.dtype == np.uint8 else X


def _squared_norms(X):
    return np.einsum("ij,ij->i", X, X)


def _fill_squares(X, Y, y_norms, out):
    """Write |x|^2 + |y|^2 - 2xy, with one matrix product and no temporary of that size."""
    np.matmul(X, Y.T, out=out)
    out *= -2.0
    out += _squared_norms(X)[:, None]
    out += y_norms
    np.maximum(out, 0.0, out=out)


def _fill_l1(X, Y, out):
    """Write sums of |x - y|, by broadcasting a block of X with a block of Y."""
    n_x, n_y, d = len(X), len(Y), X.shape[1]
    y_rows = min(n_y, max(1, L1_BLOCK_VALUES // d))
    x_rows = min(n_x, max(1, L1_BLOCK_VALUES // (d * y_rows)))
    for i in range(0, n_x, x_rows):
        for j in range(0, n_y, y_rows):
            difference = X[i : i + x_rows, None] - Y[None, j : j + y_rows]
            np.abs(difference, out=difference)
            difference.sum(axis=2, out=out[i : i + x_rows, j : j + y_rows])


def pairwise_distances(X, Y, metric):
    """All distances between rows of X and rows of Y, shape (n_x, n_y)."""
    X, Y = _as_float(X), _as_float(Y)
    out = np.empty((len(X), len(Y)), X.dtype)
    if metric == "l1":
        _fill_l1(X, Y, out)
        return out
    _fill_squares(X, Y, _squared_norms(Y), out)
    return np.sqrt(out, out=out) if metric == "l2" else out


def kneighbors(X, Y, k, metric):
    """Distances and indices of the k nearest rows of Y: a matrix of distances, argpartition, sort.

    Queries are taken in chunks, so that the matrix fits in memory.
    """
    X, Y = _as_float(X), _as_float(Y)
    y_norms = None if metric == "l1" else _squared_norms(Y)
    distances, indices = np.empty((len(X), k), X.dtype), np.empty((len(X), k), np.int64)
    rows = max(1, CHUNK_VALUES // len(Y))
    chunk = np.empty((min(rows, len(X)), len(Y)), X.dtype)
    for start in range(0, len(X), rows):
        part = X[start : start + rows]
        keys = chunk[: len(part)]
        if metric == "l1":
            _fill_l1(part, Y, keys)
        else:
            _fill_squares(part, Y, y_norms, keys)
        nearest = np.argpartition(keys, k - 1, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(keys, nearest, axis=1), axis=1)
        nearest = np.take_along_axis(nearest, order, axis=1)
        indices[start : start + rows] = nearest
        distances[start : start + rows] = np.take_along_axis(keys, nearest, axis=1)
    return (np.sqrt(distances, out=distances) if metric == "l2" else distances), indices


def votes_by_bincount(neighbors, labels, n_classes, weights=None):
    """Sums of votes per query and class, from one bincount over (query, class) pairs."""
    n = len(neighbors)
    cells = labels[neighbors] + n_classes * np.arange(n)[:, None]
    flat_weights = None if weights is None else weights.ravel()
    sums = np.bincount(cells.ravel(), flat_weights, minlength=n * n_classes)
    return sums.reshape(n, n_classes)


def votes_by_add_at(neighbors, labels, n_classes, weights=None):
    """The same with an unbuffered np.add.at."""
    sums = np.zeros((len(neighbors), n_classes))
    queries = np.arange(len(neighbors))[:, None]
    np.add.at(sums, (queries, labels[neighbors]), 1.0 if weights is None else weights)
    return sums


def predict(X, Y, labels, n_classes, k, weights):
    """The class with the most votes among the k nearest, votes weighing 1 or 1/distance."""
    distances, neighbors = kneighbors(X, Y, k, "l2")
    inverse = None if weights == "uniform" else 1.0 / distances
    return votes_by_bincount(neighbors, labels, n_classes, inverse).argmax(axis=1)


# ---- losses -------------------------------------------------------------------------------------


def softmax_loss(scores, y, with_gradient=True):
    """The mean cross-entropy loss of the softmax, and its gradient or None."""
    rows = np.arange(len(y))
    scores = scores - scores.max(axis=1, keepdims=True)
    exponentials = np.exp(scores)
    sums = exponentials.sum(axis=1, keepdims=True)
    loss = float((np.log(sums[:, 0]) - scores[rows, y]).mean())
    if not with_gradient:
        return loss, None
    dscores = np.divide(exponentials, sums, out=exponentials)
    dscores[rows, y] -= 1.0
    dscores /= len(y)
    return loss, dscores


def svm_loss(scores, y, with_gradient=True):
    """The mean multiclass hinge loss with a margin of 1, and its gradient or None."""
    rows = np.arange(len(y))
    margins = scores - scores[rows, y][:, None] + scores.dtype.type(1.0)
    np.maximum(margins, 0.0, out=margins)
    margins[rows, y] = 0.0
    loss = float(margins.sum() / len(y))
    if not with_gradient:
        return loss, None
    dscores = (margins > 0.0).astype(scores.dtype)
    dscores[rows, y] = -dscores.sum(axis=1)
    dscores /= len(y)
    return loss, dscores


LOSSES = {"softmax": softmax_loss, "svm": svm_loss}


def linear_loss(W, X, y, loss, l2):
    """The loss of the scores X W^T with l2 / 2 times the squares of W, and its gradient."""
    value, dscores = LOSSES[loss](X @ W.T, y)
    gradient = dscores.T @ X
    gradient += l2 * W
    return value + 0.5 * l2 * float(np.vdot(W, W)), gradient


def losses_on_plane(W, directions, coefficients, X, y):
    """Softmax losses at W + a W1 + b W2, one after the other; the last column is the bias."""
    losses = np.empty(len(coefficients))
    for i, (a, b) in enumerate(coefficients.astype(X.dtype)):
        moved = W + a * directions[0] + b * directions[1]
        losses[i] = softmax_loss(X @ moved[:, :-1].T + moved[:, -1], y, with_gradient=False)[0]
    return losses


def sgd_epoch(X, y, n_classes, batch_size, rate, momentum, alpha):
    """One epoch of SGD on the softmax loss from weights of 0: the weights and the intercept.

    The penalty alpha / 2 is on the weights alone.
    """
    W, b = np.zeros((n_classes, X.shape[1]), X.dtype), np.zeros(n_classes, X.dtype)
    velocity_of_W, velocity_of_b = np.zeros_like(W), np.zeros_like(b)
    order = np.random.default_rng(0).permutation(len(X))
    for start in range(0, len(X), batch_size):
        batch = order[start : start + batch_size]
        rows = X[batch]
        dscores = softmax_loss(rows @ W.T + b, y[batch])[1]
        gradient = dscores.T @ rows
        gradient += alpha * W
        for values, velocity, slope in (
            (W, velocity_of_W, gradient),
            (b, velocity_of_b, dscores.sum(axis=0)),
        ):
            slope *= rate
            velocity *= momentum
            velocity -= slope
            values += velocity
    return W, b


# ---- networks -----------------------------------------------------------------------------------


def network_outputs(X, weights, offsets):
    """Return the input, the hidden layers' outputs, and the scores."""
    outputs = [X]
    for i, (W, b) in enumerate(zip(weights, offsets, strict=True)):
        sums = outputs[-1] @ W
        sums += b
        outputs.append(np.maximum(sums, 0, out=sums) if i < len(weights) - 1 else sums)
    return outputs


def network_loss(X, y, weights, offsets):
    return softmax_loss(network_outputs(X, weights, offsets)[-1], y, with_gradient=False)[0]


def network_epoch(X, y, weights, offsets, batch_size, rate, momentum, alpha):
    """One epoch of SGD with momentum on a network of rectifiers, in place; returns the weights.

    The penalty of a batch is alpha / 2 times the sum of the weights' squares, by its rows.
    """
    velocities = [np.zeros_like(part) for part in (*weights, *offsets)]
    order = np.random.default_rng(0).permutation(len(X))
    for start in range(0, len(X), batch_size):
        batch = order[start : start + batch_size]
        outputs = network_outputs(X[batch], weights, offsets)
        slopes = softmax_loss(outputs[-1], y[batch])[1]
        gradients, of_offsets = [], []
        for i in reversed(range(len(weights))):
            gradient = outputs[i].T @ slopes
            gradient += alpha / len(batch) * weights[i]
            gradients.insert(0, gradient)
            of_offsets.insert(0, slopes.sum(axis=0))
            if i > 0:
                slopes = slopes @ weights[i].T
                slopes *= outputs[i] > 0
        for values, velocity, slope in zip(
            (*weights, *offsets), velocities, gradients + of_offsets, strict=True
        ):
            slope *= rate
            velocity *= momentum
            velocity -= slope
            values += velocity
    return weights, offsets


# ---- the rectifier ------------------------------------------------------------------------------


def relu(x):
    return np.maximum(x, 0)


def relu_backward_by_product(dout, x, out=None):
    """The gradient of the rectifier, into `out` if it is given, which may be `dout`."""
    return np.multiply(dout, x > 0, out=out)


def relu_backward_by_where(dout, x):
    return np.where(x > 0, dout, 0)


def relu_backward_by_copyto(dout, x):
    """In place."""
    np.copyto(dout, 0, where=x <= 0)
    return dout
