"""Sphinx's configuration: `python -m sphinx -W docs build/docs` builds the pages."""

import json
from pathlib import Path

import fastnn

project = "fastnn"
author = "The fastnn developers"
copyright = author
version = release = fastnn.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "myst_parser",
    "numpydoc",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["gallery/*", "_build", ".pytest_cache", "**/.pytest_cache"]

figures = json.loads((Path(__file__).parent / "figures" / "release.json").read_text())
measured = f"{figures['machine']}, {figures['n_threads']} threads, {figures['date']}"
rst_epilog = f"""
.. |figures_note| replace:: Version {figures["version"]} on an {measured}.
.. |programs_note| replace:: Times of whole programs on an {measured}.
"""
templates_path = ["_templates"]

autosummary_generate = True
# Docstrings say what parameters are; signatures stay short.
autodoc_typehints = "none"
autodoc_default_options = {
    # scikit-learn makes these, with links into its own pages.
    "exclude-members": "set_fit_request, set_partial_fit_request, set_score_request",
}
# Methods are listed by the templates, without those of scikit-learn's classes.
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "filename_pattern": r"\.py$",
    "copyfile_regex": r"GALLERY_HEADER\.rst",
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "abort_on_example_error": True,
    "capture_repr": (),
}

html_theme = "furo"
html_title = f"fastnn {version}"
html_copy_source = False
