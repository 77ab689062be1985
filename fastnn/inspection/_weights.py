"""Weights as images."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from .. import _validation
from ._plotting import (
    N_COLUMNS,
    check_attributes,
    check_image_shape,
    check_names,
    check_values,
    import_pyplot,
)


class WeightsDisplay:
    """Each class's weights as an image: the template that rows are compared with.

    Weights of color images are scaled for each class, such that 0 is mid-gray and the largest
    magnitude a full channel. Those of gray images share one scale, white at 0.

    Parameters
    ----------
    weights : array-like of shape (n_templates, n_features)
    image_shape : tuple (h, w), (h, w, 3) or (3, h, w), optional
        How a row is an image; (3, h, w) has one channel after the other, as CIFAR-10 has, and
        (3, h, 3) is taken for (h, w, 3). None: (3, 32, 32) for 3072 features, else a gray square.
    class_names : sequence of n_templates names, optional
        Titles. None: 0, 1, ...

    Attributes
    ----------
    images_ : list of matplotlib AxesImage
    colorbar_ : matplotlib Colorbar, or None
        Of gray images.
    axes_ : ndarray of matplotlib Axes, of shape (n_templates,)
    figure_ : matplotlib Figure

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.inspection import WeightsDisplay
    >>> display = WeightsDisplay(weights=np.eye(4), class_names=["a", "b", "c", "d"]).plot()
    >>> display.image_shape, [ax.get_title() for ax in display.axes_]
    ((2, 2), ['a', 'b', 'c', 'd'])
    """

    def __init__(
        self, *, weights: ArrayLike, image_shape: Any = None, class_names: Any = None
    ) -> None:
        self.weights = check_values(weights, "weights", (2,))
        n_templates, n_features = self.weights.shape
        self.image_shape = check_image_shape(image_shape, n_features)
        names = range(n_templates) if class_names is None else class_names
        self.class_names = check_names(names, n_templates)

    def plot(self, ax: Any = None, *, n_columns: int = N_COLUMNS, **kwargs: Any) -> Self:
        """Draw a grid of images.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of them, as many as there are templates, optional
            None: a new figure.
        n_columns : int, default=5
            Of the grid in a new figure.
        **kwargs : dict
            For `Axes.imshow`.

        Returns
        -------
        self : WeightsDisplay
        """
        plt = import_pyplot(f"{type(self).__name__}.plot")
        n_templates = len(self.weights)
        self.axes_ = self._make_axes(plt, n_columns) if ax is None else np.ravel(ax)
        if len(self.axes_) != n_templates:
            raise ValueError(
                f"ax must be as many axes as there are templates, {n_templates}, got "
                f"{len(self.axes_)}"
            )
        self.figure_ = self.axes_[0].figure
        images, options = self._make_images()
        self.images_ = []
        for axes, image, name in zip(self.axes_, images, self.class_names, strict=True):
            self.images_.append(axes.imshow(image, **(options | kwargs)))
            axes.set(title=name, xticks=[], yticks=[])
        self.colorbar_ = None
        if len(self.image_shape) == 2:
            self.colorbar_ = self.figure_.colorbar(
                self.images_[0], ax=list(self.axes_), label="Weight"
            )
        return self

    def _make_axes(self, plt, n_columns):
        n_templates = len(self.weights)
        n_columns = _validation.check_integer(n_columns, "n_columns", low=1)
        n_columns = min(n_columns, n_templates)
        n_rows = -(-n_templates // n_columns)
        is_gray = len(self.image_shape) == 2
        h, w = self.image_shape if is_gray else self._make_images()[0].shape[1:3]
        # Room for titles, and for the colorbar of gray images.
        width = 1.5 * n_columns + 0.9 * is_gray
        height = (min(1.5 * h / w, 3.0) + 0.4) * n_rows
        figure, grid = plt.subplots(
            n_rows,
            n_columns,
            figsize=(max(width, 3.2), max(height, 2.6 if is_gray else 1.2)),
            layout="constrained",
            squeeze=False,
        )
        for spare in grid.flat[n_templates:]:
            figure.delaxes(spare)
        return grid.ravel()[:n_templates]

    def _make_images(self):
        """Return what imshow takes for each template, and options that go with it."""
        images = self.weights.reshape(-1, *self.image_shape)
        if images.ndim == 3:
            limit = np.abs(images).max() or 1.0
            return images, {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
        if self.image_shape[-1] != 3:
            images = np.moveaxis(images, 1, -1)
        limits = np.abs(images).max(axis=(1, 2, 3), keepdims=True)
        return 0.5 + 0.5 * images / np.where(limits > 0, limits, 1.0), {}

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        image_shape: Any = None,
        class_names: Any = None,
        ax: Any = None,
        n_columns: Any = N_COLUMNS,
        **kwargs: Any,
    ) -> Self:
        """Draw the weights of a fitted linear classifier.

        Parameters
        ----------
        estimator : object
            Fitted, with `coef_` and `classes_`: a classifier of `fastnn.linear_model` or of
            scikit-learn's. Of two classes there is one template, for the second class.
        image_shape : tuple (h, w), (h, w, 3) or (3, h, w), optional
            As for the class.
        class_names : sequence of n_classes names, optional
            In the order of `classes_`. None: these.
        ax : matplotlib Axes or array-like of them, optional
            None: a new figure.
        n_columns, **kwargs
            As in `plot`.

        Returns
        -------
        WeightsDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it is no linear classifier.
        ValueError
            If the number of features is no image's, or names do not fit.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from fastnn.inspection import WeightsDisplay
        >>> from fastnn.linear_model import SoftmaxClassifier
        >>> X, y = load_digits(return_X_y=True)
        >>> model = SoftmaxClassifier(max_iter=20, tol=None, random_state=0).fit(X / 16, y)
        >>> display = WeightsDisplay.from_estimator(model)
        >>> display.image_shape, len(display.axes_)
        ((8, 8), 10)
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        check_attributes(estimator, "a linear classifier", "coef_", "classes_")
        weights = np.atleast_2d(estimator.coef_)
        names = estimator.classes_ if class_names is None else class_names
        names = check_names(names, len(estimator.classes_))
        if len(weights) == 1:
            names = names[-1:]
        display = cls(weights=weights, image_shape=image_shape, class_names=names)
        return display.plot(ax, n_columns=n_columns, **kwargs)
