"""The demo's report: a page with its tables and pictures."""

from html import escape
from pathlib import Path

from sklearn.metrics import ConfusionMatrixDisplay

from .inspection import (
    KSelectionDisplay,
    LossCurveDisplay,
    NeighborsDisplay,
    WeightsDisplay,
)
from .model_selection import KNeighborsClassifierCV

PAGE_NAME = "index.html"
DPI = 110
N_QUERIES, N_SHOWN = 5, 6
LARGEST = 30
# Folds take too long where there are more images.
MOST_FOR_FOLDS = 10_000

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: 0.25rem 0.8rem; border-bottom: 1px solid #ddd; text-align: right; }
th { border-bottom: 2px solid #444; }
.text { text-align: left; }
figure { margin: 2rem 0; }
img { max-width: 100%; }
figcaption { color: #444; font-size: 0.9em; }
"""


def prepare(folder):
    """Make the folder, and check before the work that there can be pictures."""
    try:
        import matplotlib
    except ImportError:
        raise ValueError('--report needs matplotlib: pip install "fastnn-kernels[plot]"') from None
    matplotlib.use("agg")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write(folder, task, sections, estimators, n_threads):
    """Write the page and its pictures.

    Parameters
    ----------
    folder : Path
    task : fastnn._demo.Task
    sections : list of (title, rows, columns of text, notes)
        The tables, the first of the rows being the header.
    estimators : dict
        Fitted, by the names of the models.
    n_threads : int

    Returns
    -------
    Path
        Of the page.
    """
    import matplotlib.pyplot as plt

    figures = []
    for name, title, draw in PICTURES:
        figure = draw(task, estimators, n_threads)
        figure.savefig(folder / f"{name}.png", dpi=DPI)
        plt.close(figure)
        figures.append(
            f'<figure><img src="{name}.png" alt="{escape(title)}">'
            f"<figcaption>{escape(title)}</figcaption></figure>"
        )
    tables = [_table(*section) for section in sections]
    title = escape(f"fastnn on {task.name}")
    page = "\n".join(
        [
            "<!DOCTYPE html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>{STYLE}</style></head><body>",
            f"<h1>{title}</h1>",
            *tables,
            "<h2>Pictures</h2>",
            *figures,
            "</body></html>\n",
        ]
    )
    path = folder / PAGE_NAME
    path.write_text(page, encoding="utf-8")
    return path


def _table(title, rows, text_columns, notes):
    def line(cells, tag):
        parts = [
            f'<{tag} class="text">{escape(cell)}</{tag}>'
            if column in text_columns
            else f"<{tag}>{escape(cell)}</{tag}>"
            for column, cell in enumerate(cells)
        ]
        return f"<tr>{''.join(parts)}</tr>"

    lines = [line(rows[0], "th"), *(line(cells, "td") for cells in rows[1:])]
    paragraphs = [f"<p>{escape(note)}</p>" for note in notes]
    return "\n".join([f"<h2>{escape(title)}</h2>", "<table>", *lines, "</table>", *paragraphs])


# ---- pictures ------------------------------------------------------------------------------------


def _draw_neighbors(task, estimators, n_threads):
    model = estimators["k-NN"]
    return NeighborsDisplay.from_estimator(
        model,
        task.test.X[:N_QUERIES],
        task.test.y[:N_QUERIES],
        n_neighbors=min(N_SHOWN, model.n_samples_fit_),
        class_names=task.class_names,
    ).figure_


def _draw_choice_of_k(task, estimators, n_threads):
    X, y = task.learning
    cv = 5 if len(y) <= MOST_FOR_FOLDS else [(task.train, task.validation)]
    largest = min(LARGEST, len(task.train) // 2)
    search = KNeighborsClassifierCV(
        range(1, largest + 1), metric=["l1", "l2"], cv=cv, refit=False, n_jobs=n_threads
    )
    return KSelectionDisplay.from_estimator(search.fit(X, y)).figure_


def _draw_templates(task, estimators, n_threads):
    return WeightsDisplay.from_estimator(
        estimators["softmax"], class_names=task.class_names
    ).figure_


def _draw_losses(task, estimators, n_threads):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for name, ax in zip(("SVM", "softmax", "network"), axes, strict=True):
        LossCurveDisplay.from_estimator(estimators[name], ax=ax)
        ax.set_title(name)
    return figure


def _draw_confusion(task, estimators, n_threads):
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(7, 6), layout="constrained")
    ConfusionMatrixDisplay.from_estimator(
        estimators["k-NN"],
        *task.test,
        display_labels=task.class_names,
        xticks_rotation="vertical" if max(map(len, task.class_names)) > 2 else "horizontal",
        ax=ax,
        colorbar=False,
    )
    return figure


PICTURES = [
    ("neighbors", "Test images and their neighbors; red: another class.", _draw_neighbors),
    (
        "k_selection",
        "The choice of k, metric and weights by cross-validation, or where images are many by the "
        "validation images. The table has the best of fewer k on the validation images.",
        _draw_choice_of_k,
    ),
    ("templates", "What the softmax classifier looks for in each class.", _draw_templates),
    ("losses", "Training losses, epoch by epoch.", _draw_losses),
    ("confusion", "Classes that the k-NN classifier takes for others.", _draw_confusion),
]
