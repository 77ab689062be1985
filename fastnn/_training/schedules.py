"""Step sizes of gradient descent."""

import dataclasses

import numpy as np

NAMES = frozenset({"constant", "invscaling", "adaptive", "step", "cosine"})
# What "adaptive" divides the step size by, and where it ends.
ADAPTIVE_FACTOR, SMALLEST_STEP = 5.0, 1e-6


@dataclasses.dataclass
class Schedule:
    """`learning_rate_init` times factors that depend on the epoch and on the rows seen so far."""

    learning_rate: str
    learning_rate_init: float
    power_t: float
    decay_factor: float
    decay_every: int
    max_iter: int

    def step_sizes(self, epoch, history, n_rows, batch_size):
        """Return the step size of each batch of an epoch."""
        epochs = epoch + np.arange(0, n_rows, batch_size) / n_rows
        if self.learning_rate == "step":
            factors = self.decay_factor ** (epochs // self.decay_every)
        elif self.learning_rate == "cosine":
            factors = 0.5 + 0.5 * np.cos(np.pi * np.minimum(epochs / self.max_iter, 1.0))
        elif self.learning_rate == "invscaling":
            factors = np.full_like(epochs, (history.n_seen + 1.0) ** -self.power_t)
        elif self.learning_rate == "adaptive":
            factors = np.full_like(epochs, ADAPTIVE_FACTOR**-history.n_reductions)
        else:
            factors = np.ones_like(epochs)
        return self.learning_rate_init * factors

    def reduce(self, history):
        """Make the steps smaller, and return True, if that is what comes before the end."""
        step_size = self.learning_rate_init * ADAPTIVE_FACTOR**-history.n_reductions
        if self.learning_rate != "adaptive" or step_size <= SMALLEST_STEP:
            return False
        history.n_reductions += 1
        return True
