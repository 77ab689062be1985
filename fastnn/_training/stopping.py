"""When training ends, and which weights are kept."""

import numpy as np


class Patience:
    """Ends training when a score has not risen for too long, as in scikit-learn."""

    def __init__(self, tol, n_iter_no_change):
        self.tol, self.n_iter_no_change = tol, n_iter_no_change
        self.best, self.waited = -np.inf, 0

    def is_over(self, score):
        if self.tol is None:
            return False
        # A score that is not known, NaN, is no improvement.
        self.waited = 0 if score >= self.best + self.tol else self.waited + 1
        self.best = max(self.best, score)
        return self.waited > self.n_iter_no_change


class HeldOut:
    """Rows set aside, the score on them, and the parameters that did best.

    Parameters
    ----------
    model : Model
        Of these rows.
    y, sample_weight : ndarray
        Of these rows, as models take them.
    score : callable
        From scores of the model, `y` and `sample_weight`.
    """

    def __init__(self, model, y, sample_weight, score):
        self.model, self.y, self.sample_weight, self.score = model, y, sample_weight, score
        self.best_score, self.best = -np.inf, None

    def measure(self, model):
        """Return the score of another model's parameters, and remember the best ones."""
        parameters = model.save()
        self.model.restore(parameters)
        score = float(self.score(self.model.scores(), self.y, self.sample_weight))
        if score > self.best_score:
            self.best_score, self.best = score, parameters
        return score
