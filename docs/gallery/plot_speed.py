"""
How fast it is
==============

How many times as fast as other libraries: right of the line at 1 fastnn is faster. The numbers are
those of :doc:`/reference/figures`; ``fastnn bench --json`` measures on your machine, and its output
goes into ``SpeedDisplay.from_json``.
"""

import json
from pathlib import Path

from fastnn.inspection import SpeedDisplay

SOME = ["l2", "whole-l2-uint8", "whole-l1-uint8", "tree-3", "select-k", "impute-100", "epoch-uint8"]

figures = json.loads(Path("../figures/release.json").read_text())
isa, results = next(iter(figures["results"].items()))
results = {
    result["key"]: result | {"row": result["work"].replace("`", "")}
    for result in results
    if not result["key"].startswith("program-")
}
SpeedDisplay(results=[results[key] for key in SOME]).plot()

# %%
# All rows of the table:

SpeedDisplay(results=list(results.values())).plot()
