"""The loss as a function of one vector of all parameters, and what minimizes it."""

import numpy as np
import scipy.optimize

# L-BFGS ends where the loss changes by less than this part of it.
LOSS_RESOLUTION = 64 * np.finfo(float).eps


class Objective:
    """The loss of a model over all its rows.

    Parameters
    ----------
    model : Model
    shapes : list of tuple
        Of the weights of all layers, then of the biases that move.
    n_layers : int
    """

    def __init__(self, model, shapes, n_layers):
        self.model, self.shapes, self.n_layers = model, shapes, n_layers
        self.n_evaluations = 0

    def join(self, weights, biases):
        """Return parameters as a vector of float64."""
        parts = [*weights, *biases][: len(self.shapes)]
        return np.concatenate([np.ravel(part) for part in parts], dtype=np.float64)

    def split(self, vector):
        """Return weights and biases, two lists; those that do not move are zero."""
        ends = np.cumsum([np.prod(shape, dtype=int) for shape in self.shapes])
        parts = [
            part.reshape(shape)
            for part, shape in zip(np.split(vector, ends[:-1]), self.shapes, strict=True)
        ]
        weights, biases = parts[: self.n_layers], parts[self.n_layers :]
        return weights, biases or [np.zeros(len(weights[0]))]

    def loss(self, vector):
        return self._evaluate(vector, with_gradient=False)[0]

    def loss_and_gradient(self, vector):
        loss, gradients, bias_gradients = self._evaluate(vector, with_gradient=True)
        return loss, self.join(gradients, bias_gradients)

    def _evaluate(self, vector, with_gradient):
        self.model.set_weights(*self.split(vector))
        self.n_evaluations += 1
        return self.model.loss_and_gradient(with_gradient)


def minimize(objective, start, *, tol, max_iter, max_evaluations, after_iteration):
    """Run SciPy's L-BFGS-B; `after_iteration` is called with a vector and its loss."""

    def callback(intermediate_result):
        after_iteration(intermediate_result.x, intermediate_result.fun)

    # Rounding ends the search where no step lowers the loss any more.
    return scipy.optimize.minimize(
        objective.loss_and_gradient,
        start,
        jac=True,
        method="L-BFGS-B",
        callback=callback,
        options={
            "maxiter": max_iter,
            "maxfun": max_evaluations,
            "gtol": tol or 0.0,
            "ftol": LOSS_RESOLUTION,
        },
    )


def is_above(result, tol):
    """Whether a derivative is larger than `tol`, or than rounding lets it be."""
    # A loss that is known to so many digits tells derivatives to half as many.
    limit = max(tol or 0.0, np.sqrt(LOSS_RESOLUTION))
    return tol is not None and not np.abs(result.jac).max() <= limit
