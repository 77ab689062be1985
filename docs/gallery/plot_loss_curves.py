"""
Loss curves
===========

The loss over the epochs for three step sizes: too small does not get there, too large jumps about.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from fastnn.inspection import LossCurveDisplay
from fastnn.linear_model import SoftmaxClassifier

X, y = load_digits(return_X_y=True)
X = X / 16

figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
for rate, ax in zip((1e-4, 1e-2, 2.0), axes, strict=True):
    model = SoftmaxClassifier(
        learning_rate_init=rate,
        max_iter=60,
        tol=None,
        early_stopping=True,
        n_iter_no_change=60,
        random_state=0,
    )
    LossCurveDisplay.from_estimator(model.fit(X, y), ax=ax)
    ax.set_title(f"step size {rate:g}")
