"""Filling in what is missing, from the nearest neighbors.

`KNNImputer` is scikit-learn's class with another search. The other names of `sklearn.impute` that
can be imported from here, MissingIndicator and SimpleImputer, are scikit-learn's as they are.
"""

import sklearn.impute
from sklearn.impute import MissingIndicator, SimpleImputer

from ._sklearn import imputation

__all__ = ["KNNImputer", "MissingIndicator", "SimpleImputer"]


class KNNImputer(sklearn.impute.KNNImputer):
    """Fills in missing values by the means of the nearest samples that have them.

    Parameters, attributes and methods are those of `sklearn.impute.KNNImputer`. Samples at the same
    distance come in the order of their indices. Distances are those of
    `fastnn.metrics.nan_euclidean_distances`, in float64; a row needs no more memory than its
    neighbors. Where no neighbor counts, by its distance or weight, it is the mean of the column.
    Callable metrics are left to scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.impute import KNNImputer
    >>> X = [[1.0, 2.0, np.nan], [3.0, 4.0, 3.0], [np.nan, 6.0, 5.0], [8.0, 8.0, 7.0]]
    >>> KNNImputer(n_neighbors=2).fit_transform(X)
    array([[1. , 2. , 4. ],
           [3. , 4. , 3. ],
           [5.5, 6. , 5. ],
           [8. , 8. , 7. ]])
    """

    transform = imputation.transform
