"""
Templates of a linear classifier
================================

The weights of each class as an image. An image scores for a class what it has in common with the
class's template: red pixels count for it, blue ones against it.
"""

from sklearn.datasets import load_digits

from fastnn.inspection import WeightsDisplay
from fastnn.linear_model import SoftmaxClassifier

X, y = load_digits(return_X_y=True)
model = SoftmaxClassifier(alpha=1e-2, max_iter=100, learning_rate_init=0.01, random_state=0)
model.fit(X / 16, y)
WeightsDisplay.from_estimator(model)
