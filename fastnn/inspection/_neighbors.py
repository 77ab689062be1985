"""Queries and their nearest neighbors, as images."""

from __future__ import annotations

import itertools
import textwrap
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from .._sklearn.growing import places_of_found
from .._sklearn.preparation import labels_of
from ._plotting import check_image_shape, check_names, check_values, import_pyplot

RIGHT, WRONG = "black", "tab:red"
# Inches of an image, of a line of text under it, and of what is around them.
IMAGE_SIZE, LINE_SIZE, PADDING = 1.1, 0.15, 0.15
# Characters that fit under an image.
LINE_LENGTH = 16


class NeighborsDisplay:
    """Images, each in a row with its nearest neighbors: label and distance under each.

    Neighbors of another class than their query are framed in red, and so is a query that is not
    classified as it should be. Make it with `from_estimator`.

    Parameters
    ----------
    queries : array-like of shape (n_queries, n_features)
        The pixels. Colors in uint8 are drawn as they are; else the largest of all is white, and
        black is the smallest, or 0 in uint8.
    neighbors : array-like of shape (n_queries, n_neighbors, n_features)
    distances : array-like of shape (n_queries, n_neighbors)
    query_labels : array-like of shape (n_queries,), optional
    neighbor_labels : array-like of shape (n_queries, n_neighbors), optional
    predictions : array-like of shape (n_queries,), optional
    image_shape : tuple (h, w), (h, w, 3) or (3, h, w), optional
        How a row is an image; (3, h, w) has one channel after the other, as CIFAR-10 has. None:
        (3, 32, 32) for 3072 features, else a gray square.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes, of shape (n_queries, 1 + n_neighbors)
    figure_ : matplotlib Figure

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.inspection import NeighborsDisplay
    >>> display = NeighborsDisplay(
    ...     queries=np.eye(4)[:1], neighbors=np.eye(4)[None, 1:], distances=[[1.0, 1.5, 2.0]]
    ... )
    >>> display.plot().axes_.shape
    (1, 4)
    """

    def __init__(
        self,
        *,
        queries: ArrayLike,
        neighbors: ArrayLike,
        distances: ArrayLike,
        query_labels: ArrayLike | None = None,
        neighbor_labels: ArrayLike | None = None,
        predictions: ArrayLike | None = None,
        image_shape: Any = None,
    ) -> None:
        self.queries = _check_pixels(queries, "queries", 2)
        self.neighbors = _check_pixels(neighbors, "neighbors", 3)
        n_queries, n_features = self.queries.shape
        if (self.neighbors.shape[0], self.neighbors.shape[2]) != (n_queries, n_features):
            raise ValueError(
                f"neighbors must have shape ({n_queries}, n_neighbors, {n_features}) as there are "
                f"{n_queries} queries of {n_features} features, got {self.neighbors.shape}"
            )
        shape = self.neighbors.shape[:2]
        self.distances = _check_shape(
            check_values(distances, "distances", (2,)), "distances", shape
        )
        self.query_labels = _check_shape(query_labels, "query_labels", shape[:1])
        self.neighbor_labels = _check_shape(neighbor_labels, "neighbor_labels", shape)
        self.predictions = _check_shape(predictions, "predictions", shape[:1])
        self.image_shape = check_image_shape(image_shape, n_features)

    def plot(self, axes: ArrayLike | None = None, **kwargs: Any) -> Self:
        """Draw a row of images for each query.

        Parameters
        ----------
        axes : array-like of matplotlib Axes, of shape (n_queries, 1 + n_neighbors), optional
            None: a new figure.
        **kwargs : dict
            For `Axes.imshow`.

        Returns
        -------
        self : NeighborsDisplay
        """
        plt = import_pyplot(f"{type(self).__name__}.plot")
        n_rows, n_columns = len(self.queries), 1 + self.neighbors.shape[1]
        texts = [
            [self._text_of_query(i), *(self._text_of_neighbor(i, j) for j in range(n_columns - 1))]
            for i in range(n_rows)
        ]
        if axes is None:
            n_lines = 1 + max(text.count("\n") for row in texts for text in row)
            height = IMAGE_SIZE + LINE_SIZE * n_lines + PADDING
            size = (IMAGE_SIZE * n_columns, height * n_rows + 0.3)
            _, axes = plt.subplots(
                n_rows, n_columns, figsize=size, squeeze=False, layout="constrained"
            )
        self.axes_ = np.asarray(axes)
        if self.axes_.shape != (n_rows, n_columns):
            raise ValueError(
                f"axes must have shape ({n_rows}, {n_columns}), a row for each query, got "
                f"{self.axes_.shape}"
            )
        self.figure_ = self.axes_[0, 0].figure
        images, options = self._make_images()
        options |= kwargs
        for i, row in enumerate(self.axes_):
            for j, ax in enumerate(row):
                is_wrong = self._is_wrong(i, j - 1 if j else None)
                self._draw(ax, images[i, j], texts[i][j], is_wrong, options)
        for j, ax in enumerate(self.axes_[0]):
            ax.set_title("query" if j == 0 else f"neighbor {j}", fontsize="small")
        return self

    def _make_images(self):
        """Return images of shape (n_queries, 1 + n_neighbors, ...) and options for imshow."""
        rows = np.concatenate([self.queries[:, None], self.neighbors], axis=1)
        images = rows.reshape(*rows.shape[:2], *self.image_shape)
        low, high = rows.min(), rows.max()
        if len(self.image_shape) == 2:
            low = 0 if rows.dtype == np.uint8 else low
            return images, {"cmap": "gray", "vmin": low, "vmax": high}
        if self.image_shape[-1] != 3:
            images = np.moveaxis(images, 2, -1)
        if rows.dtype == np.uint8:
            return images, {}
        return (images - low) / (high - low or 1.0), {}

    def _draw(self, ax, image, text, wrong, options):
        ax.imshow(image, **options)
        color = WRONG if wrong else RIGHT
        ax.set(xticks=[], yticks=[])
        ax.set_xlabel(text, color=color, fontsize="small")
        for spine in ax.spines.values():
            spine.set(color=color, linewidth=2.5 if wrong else 0.8)

    def _is_wrong(self, i, j=None):
        labels = self.predictions if j is None else self.neighbor_labels
        if self.query_labels is None or labels is None:
            return False
        return labels[i if j is None else (i, j)] != self.query_labels[i]

    def _text_of_query(self, i):
        parts = [] if self.query_labels is None else [str(self.query_labels[i])]
        if self.predictions is not None:
            parts.append(f"predicted {self.predictions[i]}")
        return _wrapped(*parts)

    def _text_of_neighbor(self, i, j):
        distance = self.distances[i, j]
        distance = f"{distance:,.0f}" if 1000 <= distance < 1e9 else f"{distance:.4g}"
        if self.neighbor_labels is None:
            return distance
        return _wrapped(str(self.neighbor_labels[i, j]), distance)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        n_neighbors: int | None = None,
        image_shape: Any = None,
        class_names: Any = None,
        axes: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw some images and their neighbors among an estimator's training samples.

        Parameters
        ----------
        estimator : object
            Fitted on a dense array: an estimator with `kneighbors` of `fastnn.neighbors` or of
            scikit-learn's, or a search such as KNeighborsClassifierCV with its `best_estimator_`.
        X : array-like of shape (n_queries, n_features)
        y : array-like of shape (n_queries,), optional
            The right labels.
        n_neighbors : int, optional
            None: the estimator's.
        image_shape : tuple, optional
            As for the class.
        class_names : sequence of names, optional
            In the order of `classes_`, in place of the labels of a classifier.
        axes, **kwargs
            As in `plot`.

        Returns
        -------
        NeighborsDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If it has no neighbors or no dense training samples, and for arguments that do not fit.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from fastnn.inspection import NeighborsDisplay
        >>> from fastnn.neighbors import KNeighborsClassifier
        >>> X, y = load_digits(return_X_y=True)
        >>> model = KNeighborsClassifier(3).fit(X[:1500], y[:1500])
        >>> display = NeighborsDisplay.from_estimator(model, X[1500:1504], y[1500:1504])
        >>> display.axes_.shape, display.image_shape
        ((4, 4), (8, 8))
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        model = getattr(estimator, "best_estimator_", estimator)
        samples = getattr(model, "_fit_X", None)
        if not hasattr(model, "kneighbors") or not isinstance(samples, np.ndarray):
            raise TypeError(
                "estimator must have kneighbors() and be fitted on a dense array, got "
                f"{type(estimator).__name__}"
            )
        X = np.asarray(X)
        distances, indices = model.kneighbors(X, n_neighbors)
        places = places_of_found(model, indices)
        labels = {"query_labels": y}
        if is_classifier(model) and labels_of(model).ndim == 1:
            labels["neighbor_labels"] = model.classes_[labels_of(model)][places]
            labels["predictions"] = model.predict(X)
            if class_names is not None:
                names = np.array(check_names(class_names, len(model.classes_)))
                for role, values in labels.items():
                    if values is not None:
                        labels[role] = names[_places(values, model.classes_, role)]
        neighbors = samples[places]
        if X.dtype == np.uint8:  # the samples were bytes, too, unless that would change them
            with np.errstate(invalid="ignore"):
                as_bytes = neighbors.astype(np.uint8)
            neighbors = as_bytes if np.array_equal(as_bytes, neighbors) else neighbors
        display = cls(
            queries=X, neighbors=neighbors, distances=distances, image_shape=image_shape, **labels
        )
        return display.plot(axes, **kwargs)


def _wrapped(*texts):
    """Return each text in lines that fit under an image."""
    lines = [textwrap.wrap(text, LINE_LENGTH) or [""] for text in texts]
    return "\n".join(itertools.chain.from_iterable(lines))


def _check_pixels(values, name, n_dimensions):
    values = np.asarray(values)
    if values.dtype != np.uint8:
        return check_values(values, name, (n_dimensions,))
    if values.ndim != n_dimensions or not values.size:
        raise ValueError(f"{name} must be {n_dimensions}-D and not empty, got shape {values.shape}")
    return values


def _check_shape(values, name, shape):
    if values is None:
        return None
    values = np.asarray(values)
    if values.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {values.shape}")
    return values


def _places(labels, classes, role):
    """Return where labels are among the sorted classes."""
    labels = np.asarray(labels)
    places = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    if not (classes[places] == labels).all():
        raise ValueError(f"{role} must be among the classes of the estimator to have names")
    return places
