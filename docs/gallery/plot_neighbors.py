"""
Neighbors of images
===================

Each image in a row with the training images that are nearest to it under L1. Neighbors of another
class have a red frame, and so has an image that is classified wrongly.
"""

from sklearn.datasets import load_digits

from fastnn.inspection import NeighborsDisplay
from fastnn.neighbors import KNeighborsClassifier

X, y = load_digits(return_X_y=True)
model = KNeighborsClassifier(5, metric="l1").fit(X[:1000], y[:1000])

# Two images that are classified wrongly, and two that are not.
is_wrong = model.predict(X[1000:]) != y[1000:]
shown = [*is_wrong.nonzero()[0][:2], *(~is_wrong).nonzero()[0][:2]]
NeighborsDisplay.from_estimator(model, X[1000:][shown], y[1000:][shown])
