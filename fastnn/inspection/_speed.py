"""How fast fastnn is beside its peers."""

import json
import math
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any, Self

from ._plotting import import_pyplot

ROW_HEIGHT = 0.42
# Peers beyond the colors of matplotlib's cycle are told apart by their markers.
N_COLORS, MARKERS = 10, "os^D"
NEEDED = ("row", "fastnn_ms", "peers_ms")


class SpeedDisplay:
    """How many times as fast as each peer, row by row, on a logarithmic scale.

    Right of the line at 1 fastnn is faster. The ratio to the best peer, the smallest one of a row,
    is written beside it.

    Parameters
    ----------
    results : list of dict
        What `bench/ratios.py --json` prints: for each row its name ("row"), fastnn's time
        ("fastnn_ms") and the times of the peers ("peers_ms").

    Attributes
    ----------
    points_ : dict of str to matplotlib Line2D
        The ratios of each peer.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from fastnn.inspection import SpeedDisplay
    >>> row = {"row": "L2, k=10", "fastnn_ms": 2.0, "peers_ms": {"faiss": 5.0, "torch": 9.0}}
    >>> display = SpeedDisplay(results=[row]).plot()
    >>> list(display.points_)
    ['faiss', 'torch']
    """

    def __init__(self, *, results: Any) -> None:
        if not results:
            raise ValueError("results must hold at least one row, got none")
        for result in results:
            _check_row(result)
        self.results = results

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the ratios.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            None: a new figure.
        **kwargs : dict
            For `Axes.plot` of the points.

        Returns
        -------
        self : SpeedDisplay
        """
        plt = import_pyplot(f"{type(self).__name__}.plot")
        if ax is None:
            height = ROW_HEIGHT * len(self.results) + 1.3
            _, ax = plt.subplots(figsize=(8.5, max(height, 2.2)), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        peers = list(dict.fromkeys(p for result in self.results for p in result["peers_ms"]))
        self.points_ = {}
        for number, peer in enumerate(peers):
            options = {
                "linestyle": "none",
                "marker": MARKERS[number // N_COLORS % len(MARKERS)],
                "color": f"C{number % N_COLORS}",
                "label": peer,
            }
            rows = [i for i, result in enumerate(self.results) if peer in result["peers_ms"]]
            ratios = [_ratio(self.results[i], peer) for i in rows]
            (self.points_[peer],) = ax.plot(ratios, rows, **(options | kwargs))
        ax.axvline(1.0, color="black", linewidth=0.8)
        for i, result in enumerate(self.results):
            best = min(result["peers_ms"], key=result["peers_ms"].get)
            ratio = _ratio(result, best)
            ax.hlines(i, *sorted((1.0, ratio)), color="0.8", linewidth=6, zorder=0)
            ax.annotate(
                f"{ratio:.3g}x",
                (1.005, i),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize="small",
            )
        self._label(ax)
        return self

    def _label(self, ax):
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        ax.set_xscale("log")
        low, high = ax.get_xlim()
        # Few powers of ten need numbers between them.
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 50 * low else (1,)))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_yticks(range(len(self.results)), [result["row"] for result in self.results])
        ax.set_ylim(len(self.results) - 0.5, -0.5)
        ax.tick_params(axis="y", labelsize="small", length=0)
        ax.set_xlabel("Times as fast as (at the right: as the best of them)")
        ax.grid(axis="x", color="0.9")
        ax.set_axisbelow(True)
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, fontsize="small")

    @classmethod
    def from_json(cls, path: str | PathLike[str], *, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the ratios of a file that `bench/ratios.py --json` or `fastnn bench --json` wrote.

        Parameters
        ----------
        path : str or path-like
        ax : matplotlib Axes, optional
            None: a new figure.
        **kwargs : dict
            As in `plot`.

        Returns
        -------
        SpeedDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        OSError
            If the file cannot be read.
        ValueError
            If it holds something else.
        """
        import_pyplot(f"{cls.__name__}.from_json")
        try:
            results = json.loads(Path(path).read_text())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: must hold JSON: {error}") from None
        if not isinstance(results, list):
            raise ValueError(f"{path}: must hold a list of rows, got {type(results).__name__}")
        return cls(results=results).plot(ax, **kwargs)


def _check_row(result):
    missing = [key for key in NEEDED if not (isinstance(result, dict) and result.get(key))]
    if missing:
        raise ValueError(
            f"results must be what bench/ratios.py --json prints, got a row without "
            f"{', '.join(missing)}"
        )
    if not isinstance(result["peers_ms"], dict):
        raise ValueError(f"peers_ms must be times by name, got {result['peers_ms']!r}")
    for name, time in [("fastnn", result["fastnn_ms"]), *result["peers_ms"].items()]:
        if not isinstance(time, Real) or not 0 < time < math.inf:
            raise ValueError(f"times must be numbers above 0, got {time!r} of {name}")


def _ratio(result, peer):
    return result["peers_ms"][peer] / result["fastnn_ms"]
