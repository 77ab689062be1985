"""
Choosing k
==========

Accuracy against the number of neighbors in five-fold cross-validation, for two metrics and two
weightings: means as lines, folds as dots, one standard deviation as bands. The 240 candidates take
one search for each metric and fold.
"""

from sklearn.datasets import load_digits

from fastnn.inspection import KSelectionDisplay
from fastnn.model_selection import KNeighborsClassifierCV

X, y = load_digits(return_X_y=True)
search = KNeighborsClassifierCV(range(1, 61), metric=["l1", "l2"], cv=5).fit(X, y)
KSelectionDisplay.from_estimator(search)

# %%
# The same by leave-one-out, which is one search of all samples among themselves.

search = KNeighborsClassifierCV(range(1, 61), metric=["l1", "l2"], cv="loo").fit(X, y)
KSelectionDisplay.from_estimator(search)
