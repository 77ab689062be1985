"""Epochs of gradient descent."""

import dataclasses

import numpy as np

from .stopping import Patience


@dataclasses.dataclass
class History:
    """What is known of training so far."""

    # "loss", and what else is measured: one value for each epoch or iteration, NaN where it was
    # not measured.
    curves: dict = dataclasses.field(default_factory=lambda: {"loss": []})
    # Of the last fit. `n_reductions`: how often "adaptive" has made the steps smaller.
    n_iter: int = 0
    n_reductions: int = 0
    validation_scores: list | None = None
    best_loss: float | None = None
    # Rows that the loss has been evaluated for.
    n_seen: int = 0

    def start_fit(self):
        self.n_iter, self.n_reductions, self.validation_scores = 0, 0, None

    def add(self, loss, **measured):
        """Note the loss of an epoch or iteration, and what else was measured in it."""
        losses = self.curves["loss"]
        losses.append(float(loss))
        if self.best_loss is None or loss < self.best_loss:
            self.best_loss = float(loss)
        for name in measured:
            self.curves.setdefault(name, [])
        for name, curve in self.curves.items():
            curve += [np.nan] * (len(losses) - len(curve))
            curve[-1] = measured.get(name, curve[-1])


class Trainer:
    """A compiled model, step sizes, and a rule for when to end.

    Parameters
    ----------
    model : Model
    schedule : Schedule
    history : History
        Goes on as training does.
    rows : ndarray of int64
        Which of the model's rows to learn from.
    batch_size : int
    random_state : RandomState or None
        Of the order of the rows; None: as they are.
    optimizer : dict
        `momentum`, `nesterov` and `adam` as `Model.train` takes them.
    with_accuracy : bool
        Whether the history tells the accuracy on these rows, too.
    """

    def __init__(
        self, model, schedule, history, rows, *, batch_size, random_state, optimizer, with_accuracy
    ):
        self.model, self.schedule, self.history, self.rows = model, schedule, history, rows
        self.batch_size, self.random_state, self.optimizer = batch_size, random_state, optimizer
        self.with_accuracy = with_accuracy

    def run(self, max_iter, tol, n_iter_no_change, held_out, validation_name, bar):
        """Train for up to `max_iter` epochs; return why it ended.

        Returns
        -------
        {"converged", "max_iter", "diverged"}
            "diverged": the loss was not finite, and the weights are those of the epoch before.
        """
        patience = Patience(tol, n_iter_no_change)
        try:
            for epoch in range(max_iter):
                measured = self.run_epoch(epoch, bar.update)
                if measured is None:
                    return "diverged"
                score = -measured["loss"]
                if held_out is not None:
                    score = held_out.measure(self.model)
                    self.history.validation_scores.append(score)
                    measured[validation_name] = score
                self.history.add(**measured)
                bar.set_postfix(loss=f"{measured['loss']:.4g}")
                if patience.is_over(score):
                    if not self.schedule.reduce(self.history):
                        return "converged"
                    patience.waited = 0
            return "max_iter"
        finally:
            if held_out is not None and held_out.best is not None:
                self.model.restore(held_out.best)

    def run_epoch(self, epoch, advance):
        """Descend over the rows once; return what was measured, or None where that is not finite.

        In that case the weights are as before.
        """
        order = self.rows
        if self.random_state is not None:
            order = self.random_state.permutation(order)
        rates = self.schedule.step_sizes(epoch, self.history, len(order), self.batch_size)
        before = self.model.save()
        loss, accuracy = self.model.train(
            order, self.batch_size, rates, progress=advance, **self.optimizer
        )
        self.history.n_iter += 1
        self.history.n_seen += len(order)
        if not (np.isfinite(loss) and self.model.is_finite()):
            self.model.restore(before)
            return None
        return {"loss": loss, "accuracy": accuracy} if self.with_accuracy else {"loss": loss}
