"""scikit-learn's neighbors estimators with the kernels' searches and votes."""

from typing import ClassVar

import sklearn.neighbors

from .._sklearn import votes
from .._sklearn.growing import GrowingClassifier, GrowingRegressor, GrowingSamples
from .._sklearn.mixins import KNeighbors, RadiusNeighbors, fit_plain
from .._sklearn.private import StrOptions, num_samples, with_option
from .._sklearn.targets import check_weights, with_weights


class NearestNeighbors(
    GrowingSamples, KNeighbors, RadiusNeighbors, sklearn.neighbors.NearestNeighbors
):
    """Searches for the k nearest neighbors, or all within a radius.

    Parameters, attributes and methods are those of `sklearn.neighbors.NearestNeighbors`. The k
    nearest ascend by (distance, index); those within a radius by index, or with
    ``sort_results=True`` by (distance, index).

    With ``metric="ip"`` distances are inner products, and the largest come first; within a radius
    are those of at least that much.

    Examples
    --------
    >>> from fastnn.neighbors import NearestNeighbors
    >>> model = NearestNeighbors(n_neighbors=2).fit([[0.0], [1.0], [5.0]])
    >>> model.kneighbors([[0.9]], return_distance=False)
    array([[1, 0]])
    >>> model.radius_neighbors([[4.5]], radius=1.0)[1][0]
    array([2])
    """

    _knows_inner_products = True
    _more_constraints: ClassVar = {
        **KNeighbors._more_constraints,
        "metric": with_option(
            sklearn.neighbors.NearestNeighbors._parameter_constraints["metric"], "ip"
        ),
    }

    def __init__(
        self,
        *,
        n_neighbors=5,
        radius=1.0,
        algorithm="auto",
        leaf_size=30,
        metric="minkowski",
        p=2,
        metric_params=None,
        n_jobs=None,
        recall=1.0,
    ):
        super().__init__(
            n_neighbors=n_neighbors,
            radius=radius,
            algorithm=algorithm,
            leaf_size=leaf_size,
            metric=metric,
            p=p,
            metric_params=metric_params,
            n_jobs=n_jobs,
        )
        self.recall = recall


class KNeighborsClassifier(GrowingClassifier, KNeighbors, sklearn.neighbors.KNeighborsClassifier):
    """Classifier that lets the k nearest training samples vote.

    Parameters, attributes and methods are those of `sklearn.neighbors.KNeighborsClassifier`. Among
    neighbors at the same distance those with the smaller index come first; among classes with the
    same votes the smallest wins.

    A vote counts `weights` times what the sample weighs: its `sample_weight` times that of its
    class by `class_weight`, a dict or "balanced", for several outputs their product, and a list of
    dicts. Samples that weigh 0 do not vote; the nearest that do take their place.

    Examples
    --------
    >>> from fastnn.neighbors import KNeighborsClassifier
    >>> model = KNeighborsClassifier(n_neighbors=3).fit([[0], [1], [2], [3]], [0, 0, 1, 1])
    >>> model.predict([[1.1]])
    array([0])
    >>> model.predict_proba([[0.9]])
    array([[0.66666667, 0.33333333]])
    """

    def __init__(
        self,
        n_neighbors=5,
        *,
        weights="uniform",
        algorithm="auto",
        leaf_size=30,
        p=2,
        metric="minkowski",
        metric_params=None,
        n_jobs=None,
        recall=1.0,
        class_weight=None,
    ):
        super().__init__(
            n_neighbors=n_neighbors,
            weights=weights,
            algorithm=algorithm,
            leaf_size=leaf_size,
            p=p,
            metric=metric,
            metric_params=metric_params,
            n_jobs=n_jobs,
        )
        self.recall = recall
        self.class_weight = class_weight

    _more_constraints: ClassVar = {
        **KNeighbors._more_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }
    predict = votes.predict
    predict_proba = votes.predict_proba

    def fit(self, X, y, sample_weight=None):
        """Fit the classifier: see `sklearn.neighbors.KNeighborsClassifier.fit`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional
            What votes are multiplied by, at least 0.

        Returns
        -------
        self
        """
        weights = None if sample_weight is None else check_weights(sample_weight, num_samples(X))
        if not (type(self) is KNeighborsClassifier and fit_plain(self, X, y)):
            super().fit(X, y)
        vars(self).update(with_weights(self, {}, weights))
        return self


class KNeighborsRegressor(GrowingRegressor, KNeighbors, sklearn.neighbors.KNeighborsRegressor):
    """Regression by the mean of the k nearest training samples.

    Parameters, attributes and methods are those of `sklearn.neighbors.KNeighborsRegressor`.

    Examples
    --------
    >>> from fastnn.neighbors import KNeighborsRegressor
    >>> model = KNeighborsRegressor(n_neighbors=2).fit([[0], [1], [2], [3]], [0.0, 0.0, 1.0, 1.0])
    >>> model.predict([[1.4]])
    array([0.5])
    """

    def __init__(
        self,
        n_neighbors=5,
        *,
        weights="uniform",
        algorithm="auto",
        leaf_size=30,
        p=2,
        metric="minkowski",
        metric_params=None,
        n_jobs=None,
        recall=1.0,
    ):
        super().__init__(
            n_neighbors=n_neighbors,
            weights=weights,
            algorithm=algorithm,
            leaf_size=leaf_size,
            p=p,
            metric=metric,
            metric_params=metric_params,
            n_jobs=n_jobs,
        )
        self.recall = recall

    predict = votes.regressor_predict

    def fit(self, X, y, sample_weight=None):
        """Fit the regressor: see `sklearn.neighbors.KNeighborsRegressor.fit`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional
            By which targets count in the means, at least 0. Samples that weigh 0 do not count; the
            nearest that do take their place.

        Returns
        -------
        self
        """
        weights = None if sample_weight is None else check_weights(sample_weight, num_samples(X))
        super().fit(X, y)
        vars(self).update(with_weights(self, {}, weights))
        return self


class KNeighborsTransformer(KNeighbors, sklearn.neighbors.KNeighborsTransformer):
    """Turns samples into the graph of their k nearest neighbors.

    Parameters, attributes and methods are those of `sklearn.neighbors.KNeighborsTransformer`: with
    mode="distance" k + 1 neighbors per row, itself among them. Rows of the graph ascend by
    (distance, index), as Isomap, DBSCAN, t-SNE and scanpy expect of precomputed graphs.

    Examples
    --------
    >>> from fastnn.neighbors import KNeighborsTransformer
    >>> graph = KNeighborsTransformer(n_neighbors=1).fit_transform([[0.0], [1.0], [3.0]])
    >>> graph.toarray()
    array([[0., 1., 0.],
           [1., 0., 0.],
           [0., 2., 0.]])
    """

    def __init__(
        self,
        *,
        mode="distance",
        n_neighbors=5,
        algorithm="auto",
        leaf_size=30,
        metric="minkowski",
        p=2,
        metric_params=None,
        n_jobs=None,
        recall=1.0,
    ):
        super().__init__(
            mode=mode,
            n_neighbors=n_neighbors,
            algorithm=algorithm,
            leaf_size=leaf_size,
            metric=metric,
            p=p,
            metric_params=metric_params,
            n_jobs=n_jobs,
        )
        self.recall = recall


class RadiusNeighborsClassifier(RadiusNeighbors, sklearn.neighbors.RadiusNeighborsClassifier):
    """Classifier that lets all training samples within a radius vote.

    Parameters, attributes and methods are those of `sklearn.neighbors.RadiusNeighborsClassifier`.

    Examples
    --------
    >>> from fastnn.neighbors import RadiusNeighborsClassifier
    >>> model = RadiusNeighborsClassifier(radius=1.0).fit([[0], [1], [2], [3]], [0, 0, 1, 1])
    >>> model.predict([[0.4]])
    array([0])
    """

    predict_proba = votes.radius_predict_proba


class RadiusNeighborsRegressor(RadiusNeighbors, sklearn.neighbors.RadiusNeighborsRegressor):
    """Regression by the mean of all training samples within a radius.

    Parameters, attributes and methods are those of `sklearn.neighbors.RadiusNeighborsRegressor`.

    Examples
    --------
    >>> from fastnn.neighbors import RadiusNeighborsRegressor
    >>> model = RadiusNeighborsRegressor(radius=1.0).fit([[0], [1], [2]], [0.0, 1.0, 5.0])
    >>> model.predict([[0.5]])
    array([0.5])
    """

    predict = votes.radius_regressor_predict


class RadiusNeighborsTransformer(RadiusNeighbors, sklearn.neighbors.RadiusNeighborsTransformer):
    """Turns samples into the graph of all neighbors within a radius.

    Parameters, attributes and methods are those of `sklearn.neighbors.RadiusNeighborsTransformer`.

    Examples
    --------
    >>> from fastnn.neighbors import RadiusNeighborsTransformer
    >>> model = RadiusNeighborsTransformer(radius=1.5)
    >>> model.fit_transform([[0.0], [1.0], [3.0]]).toarray()
    array([[0., 1., 0.],
           [1., 0., 0.],
           [0., 0., 0.]])
    """


class LocalOutlierFactor(KNeighbors, sklearn.neighbors.LocalOutlierFactor):
    """Finds outliers by the local density of their neighbors.

    Parameters, attributes and methods are those of `sklearn.neighbors.LocalOutlierFactor`.

    Examples
    --------
    >>> from fastnn.neighbors import LocalOutlierFactor
    >>> LocalOutlierFactor(n_neighbors=2).fit_predict([[-1.1], [0.2], [101.1], [0.3]])
    array([ 1,  1, -1,  1])
    """

    def __init__(
        self,
        n_neighbors=20,
        *,
        algorithm="auto",
        leaf_size=30,
        metric="minkowski",
        p=2,
        metric_params=None,
        contamination="auto",
        novelty=False,
        n_jobs=None,
        recall=1.0,
    ):
        super().__init__(
            n_neighbors=n_neighbors,
            algorithm=algorithm,
            leaf_size=leaf_size,
            metric=metric,
            p=p,
            metric_params=metric_params,
            contamination=contamination,
            novelty=novelty,
            n_jobs=n_jobs,
        )
        self.recall = recall
