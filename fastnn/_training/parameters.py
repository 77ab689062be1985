"""The parameters that all trained estimators share: what is allowed, and what they mean."""

import textwrap
from numbers import Integral, Real

import numpy as np
from numpy.random import Generator

from .._sklearn.private import Interval, Options, StrOptions
from . import schedules

CONSTRAINTS = {
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [StrOptions(schedules.NAMES)],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "decay_factor": [Interval(Real, 0, 1, closed="right")],
    "decay_every": [Interval(Integral, 1, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "max_fun": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state", Generator],
    "tol": [Interval(Real, 0, None, closed="left"), None],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
    "n_jobs": [Integral, None],
}

CLASS_WEIGHT = {"class_weight": [StrOptions({"balanced"}), dict, None]}

PARAMETERS = {
    "alpha": """float, default=1e-4
        Strength of the L2 penalty. Intercepts are free of it.""",
    "batch_size": """int or "auto", default="auto"
        Rows of a mini-batch; "auto": {auto_batch_size}. Clipped to the number of rows, with a
        warning.""",
    "learning_rate": """{{"constant", "invscaling", "adaptive", "step", "cosine"}}, \
default="constant"
        How the step size changes:

        - "constant": it is `learning_rate_init`;
        - "invscaling": ``learning_rate_init / (t + 1) ** power_t`` after t rows, from epoch to
          epoch;
        - "adaptive": it is divided by 5 each time training would end, until it is 1e-6;
        - "step": ``learning_rate_init * decay_factor ** (e // decay_every)`` in epoch e;
        - "cosine": half a cosine wave from `learning_rate_init` to 0 over `max_iter` epochs.

        As in scikit-learn, "adam" treats "invscaling" and "adaptive" as "constant".""",
    "learning_rate_init": """float, default=1e-3
        Step size of {steps}.""",
    "power_t": """float, default=0.5
        Exponent of "invscaling".""",
    "decay_factor": """float, default=0.5
        What "step" multiplies the step size by, every `decay_every` epochs.""",
    "decay_every": """int, default=10
        Epochs between two decays of "step".""",
    "max_iter": """int, default=200
        {iterations}.""",
    "max_fun": """int, default=15000
        Evaluations of the loss by "lbfgs", at most.""",
    "shuffle": """bool, default=True
        Whether each epoch visits the rows in a new order.""",
    "random_state": """int, RandomState, Generator or None, default=None
        Seeds {seeds}.""",
    "tol": """float or None, default=1e-4
        Training ends when the loss (with `early_stopping`, the validation score) has not improved
        by it for more than `n_iter_no_change` epochs; "lbfgs" when no derivative exceeds it. None:
        not before `max_iter`, and without a warning then.""",
    "verbose": """bool, default=False
        Whether to show a progress bar with the loss.""",
    "warm_start": """bool, default=False
        Whether `fit` goes on from the weights of the previous fit.""",
    "momentum": """float, default=0.9
        Of "sgd", in [0, 1].""",
    "nesterovs_momentum": """bool, default=True
        Whether the momentum is Nesterov's.""",
    "early_stopping": """bool, default=False
        Whether to set rows aside, measure the {score} on them after each epoch, and keep the
        weights that did best.""",
    "validation_fraction": """float, default=0.1
        Part of the rows that is set aside{stratified}.""",
    "beta_1": """float, default=0.9
        How much "adam" keeps of the mean of the gradients.""",
    "beta_2": """float, default=0.999
        How much it keeps of the mean of their squares.""",
    "epsilon": """float, default=1e-8
        Of "adam".""",
    "n_iter_no_change": """int or inf, default=10
        Epochs without improvement, of which one more ends training.""",
    "class_weight": """dict, "balanced" or None, default=None
        Weights of the classes' rows, as in scikit-learn; `fit` divides them by their mean.""",
    "n_jobs": """int or None, default=None
        Threads, as in scikit-learn; None: all the cores that this process may use. Results do not
        depend on it.""",
}

ATTRIBUTES = {
    "loss_curve_": """list of float
        Loss with the penalty: over each epoch, while the weights move; or after each iteration.""",
    "history_": """dict of lists
        "loss"{accuracy}; with `early_stopping` "{validation_name}". Where training goes on with
        another solver, NaN for what was not measured.""",
    "loss_": """float
        The last of `loss_curve_`.""",
    "best_loss_": """float, or None with `early_stopping`
        The lowest of `loss_curve_`.""",
    "validation_scores_": """list of float, or None
        The {score} on the rows set aside, after each epoch of the last `fit`.""",
    "best_validation_score_": """float, or None
        The highest of them.""",
    "n_iter_": """int
        Epochs or iterations of the last `fit` and of calls to `partial_fit` since.""",
    "t_": """int
        Rows that the loss has been evaluated for.""",
    "n_features_in_": """int
        Features that `fit` saw.""",
    "feature_names_in_": """ndarray of shape (`n_features_in_`,)
        Where `X` has names that are strings.""",
}

OF_CLASSIFIERS = {
    "score": "accuracy",
    "stratified": ", with the same share of each class where there are\n        rows enough",
    "accuracy": """ and, where there are epochs, "accuracy" on the rows as they are trained with
        (dropout included)""",
    "validation_name": "val_accuracy",
}
OF_REGRESSORS = {
    "score": "R²",
    "stratified": "",
    "accuracy": "",
    "validation_name": "val_r2",
}


def document(text, parameters, attributes, **words):
    """Return a docstring with the sections "Parameters" and "Attributes" in it.

    Parameters
    ----------
    text : str
        With {parameters} and {attributes} where these go.
    parameters, attributes : dict of str
        Descriptions in their order; None: the shared one.
    **words : str
        What shared descriptions leave open.
    """
    sections = {}
    for name, own, shared in (
        ("parameters", parameters, PARAMETERS),
        ("attributes", attributes, ATTRIBUTES),
    ):
        entries = [
            f"{key} : {shared[key].format(**words) if value is None else value}"
            for key, value in own.items()
        ]
        sections[name] = f"{name.title()}\n    {'-' * len(name)}\n    " + "\n    ".join(entries)
    return textwrap.dedent("    " + text.format(**sections)).strip() + "\n"
