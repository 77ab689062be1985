"""
The landscape of the SVM loss
=============================

The multiclass SVM loss around trained weights, on a line and on a plane in random directions. It is
made of flat pieces: each hinge is linear in the weights, and their sum is convex.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from fastnn.inspection import LossLandscapeDisplay
from fastnn.linear_model import SVMClassifier

X, y = load_digits(return_X_y=True)
X = X / 16
model = SVMClassifier(max_iter=100, learning_rate_init=0.01, random_state=0).fit(X, y)

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for n_directions, ax in zip((1, 2), axes, strict=True):
    LossLandscapeDisplay.from_estimator(
        model, X, y, n_directions=n_directions, random_state=0, ax=ax
    )
