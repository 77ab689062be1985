"""Drawings of circuits: layers from left to right, wires that meet no number.

The layout is that of Sugiyama: units go to layers, wires that cross a layer get a place in it, the
order within the layers is chosen for few crossings, and places for straight wires. A unit's numbers
stand on a straight piece of wire within its layer; wires bend between the layers alone. So numbers
overlap nothing, however the order comes out.
"""

from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from unicodedata import east_asian_width

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array

SYMBOLS = {
    "add": "+",
    "subtract": "−",
    "multiply": "×",
    "divide": "÷",
    "power": "^",
    "constant power": "^",
    "square": "x²",
    "negate": "neg",
    "sigmoid": "σ",
}
VALUE_COLOR, GRADIENT_COLOR, INK = "#0a7d1c", "#c8102e", "#222222"
# Points, which are pixels of an SVG.
FONT_SIZE = 11
# Of a character, at most: digits and most small letters, capitals, what is wider.
CHARACTER_WIDTH, CAPITAL_WIDTH, WIDE_WIDTH = 6.6, 8.0, 11.0
WIDE_LETTERS = frozenset("MWmw@%&")
BOLD_WIDENING = 1.2
GATE_RADIUS = 14
GATE_NAME_OFFSET = 22  # from the gate's middle up to its name's
PORT_OFFSET = 7  # of two inputs, from the gate's middle
UNIT_HEIGHT = 42  # a wire with a number above and one below
NAMED_GATE_HEIGHT = 64
WIRE_HEIGHT = 14
MARGIN = 12
# Between layers, and more for each wire that bends there, up to a limit.
LAYER_GAP, GAP_PER_WIRE, LARGEST_GAP = 26, 3, 90
SWEEPS = 12
# A bend within a wire that crosses layers disturbs more than one at its end.
WEIGHT_OF_CROSSING_WIRE = 4


class SvgText(str):
    """The text of an SVG file, which notebooks show as a picture."""

    def _repr_svg_(self):
        return str(self)


def draw(units, values, gradients, kind):
    """Draw units with these numbers.

    Parameters
    ----------
    units : list of Unit
        Each after its inputs, the output last.
    values : sequence of float
    gradients : sequence of float, or None
        None: they are not known.
    kind : {"svg", "matplotlib"}

    Returns
    -------
    SvgText or matplotlib.figure.Figure
    """
    places = make_places(units, values, gradients)
    layers = order_layers(places)
    set_heights(layers)
    picture = make_picture(layers)
    return as_svg(picture) if kind == "svg" else as_figure(picture)


# ---- layout --------------------------------------------------------------------------------------


@dataclass(eq=False)
class Place:
    """What takes height in a layer: a unit, or a wire that crosses it (`unit` is None)."""

    layer: int
    unit: object = None
    value: str = ""
    gradient: str = ""
    # [(place to the left, offset of the port here)], and the places to the right.
    sources: list = field(default_factory=list)
    targets: list = field(default_factory=list)
    height: float = 0.0

    @property
    def name(self):
        return "" if self.unit is None else printable(self.unit.name or "")

    @property
    def symbol(self):
        return SYMBOLS.get(self.unit.gate, self.unit.gate)

    @property
    def is_gate(self):
        return self.unit is not None and self.unit.gate is not None

    @property
    def half_height(self):
        if self.unit is None:
            return WIRE_HEIGHT / 2
        return (NAMED_GATE_HEIGHT if self.is_gate and self.name else UNIT_HEIGHT) / 2


def make_places(units, values, gradients):
    """Put units into layers, each as far to the right as its consumers let it; join them.

    A wire that crosses layers is shared by all consumers of its unit, which branch off.
    """
    layer = dict.fromkeys(units, 0)  # counted from the right, for now
    for unit in reversed(units):
        for source in unit.inputs:
            layer[source] = max(layer[source], layer[unit] + 1)
    last = max(layer.values())
    places = {}
    for i, unit in enumerate(units):
        has_gradient = gradients is not None and not unit.is_constant
        gradient = format_number(gradients[i]) if has_gradient else ""
        places[unit] = Place(last - layer[unit], unit, format_number(values[i]), gradient)
    wires = {unit: [place] for unit, place in places.items()}
    for unit, place in places.items():
        n = len(unit.inputs)
        for i, source in enumerate(unit.inputs):
            wire = wires[source]
            while wire[-1].layer < place.layer - 1:
                crossing = Place(wire[-1].layer + 1)
                connect(wire[-1], crossing, 0.0)
                wire.append(crossing)
            before = wire[place.layer - 1 - wire[0].layer]
            connect(before, place, (2 * i - 1) * PORT_OFFSET if n == 2 else 0.0)
    return list(places.values()) + [place for wire in wires.values() for place in wire[1:]]


def connect(source, target, offset):
    source.targets.append(target)
    target.sources.append((source, offset))


def format_number(x):
    return f"{x:.4g}".replace("-", "−")


def printable(text):
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def order_layers(places):
    """Return the layers' places from top to bottom, in the order of fewest crossings found.

    The start is a walk from the output, which has no crossings in a tree; sweeps sort each layer by
    the mean position of the neighbors in the one before it.
    """
    layers = [[] for _ in range(1 + max(place.layer for place in places))]
    seen = set()
    stack = [place for place in places if not place.targets]
    while stack:
        place = stack.pop()
        if place not in seen:
            seen.add(place)
            layers[place.layer].append(place)
            stack.extend(source for source, _ in reversed(place.sources))
    best, fewest = [list(layer) for layer in layers], count_crossings(layers)
    for sweep in range(SWEEPS):
        to_the_right = sweep % 2 == 0
        for layer in layers[1:] if to_the_right else reversed(layers[:-1]):
            sort_by_neighbors(layer, layers, to_the_right)
        crossings = count_crossings(layers)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    return best


def sort_by_neighbors(layer, layers, to_the_right):
    positions = {p: i for other in layers for i, p in enumerate(other)}

    def mean(place):
        if to_the_right:
            found = [positions[source] for source, _ in place.sources]
        else:
            # Where two wires meet in one gate, its ports tell which comes first.
            found = [
                positions[target] + 0.01 * offset
                for target in place.targets
                for source, offset in target.sources
                if source is place
            ]
        return sum(found) / len(found) if found else positions[place]

    layer.sort(key=mean)


def count_crossings(layers):
    total = 0
    for left, right in pairwise(layers):
        positions = {place: i for i, place in enumerate(left)}
        ends = [(positions[source], offset) for place in right for source, offset in place.sources]
        starts = np.array([position for position, _ in ends])
        total += sum(int((starts[:i] > starts[i]).sum()) for i in range(1, len(starts)))
    return total


def set_heights(layers):
    """Choose heights: the least sum of the wires' climbs, where all in a layer keep their distance.

    A linear program in the heights and the climbs.
    """
    places = [place for layer in layers for place in layer]
    number = {place: i for i, place in enumerate(places)}
    wires = [(source, place, offset) for place in places for source, offset in place.sources]
    n, n_wires = len(places), len(wires)
    rows, columns, factors, limits = [], [], [], []

    def require(terms, limit):  # the sum of factor * variable is at most the limit
        for column, factor in terms:
            rows.append(len(limits))
            columns.append(column)
            factors.append(factor)
        limits.append(limit)

    for layer in layers:
        for above, below in pairwise(layer):
            distance = above.half_height + below.half_height
            require([(number[above], 1.0), (number[below], -1.0)], -distance)
    for i, (source, place, offset) in enumerate(wires):
        for sign in (1.0, -1.0):
            terms = [(number[place], sign), (number[source], -sign), (n + i, -1.0)]
            require(terms, -sign * offset)
    if not limits:
        return
    crosses = [source.unit is None and place.unit is None for source, place, _ in wires]
    weights = [WEIGHT_OF_CROSSING_WIRE if c else 1.0 for c in crosses]
    result = linprog(
        np.concatenate([np.zeros(n), weights]),
        coo_array((factors, (rows, columns)), shape=(len(limits), n + n_wires)).tocsr(),
        limits,
        bounds=(0, None),
        method="highs",
    )
    heights = result.x[:n] - result.x[:n].min()
    for place, height in zip(places, heights, strict=True):
        place.height = float(height)


# ---- picture -------------------------------------------------------------------------------------


@dataclass
class Picture:
    """What there is to draw; y grows downward."""

    width: float
    height: float
    # Wires from (x0, y0) to (x1, y1), straight ones and bends.
    lines: list = field(default_factory=list)
    curves: list = field(default_factory=list)
    dots: list = field(default_factory=list)  # (x, y)
    gates: list = field(default_factory=list)  # (x of the middle, y, half of the width, symbol)
    names: list = field(default_factory=list)  # (x of the end, y, text)
    gate_names: list = field(default_factory=list)  # (x of the middle, y, text)
    numbers: list = field(default_factory=list)  # (x of the middle, y, text, color)


def text_width(text):
    return sum(map(character_width, text))


def character_width(c):
    if c in WIDE_LETTERS or east_asian_width(c) in "WF":
        return WIDE_WIDTH
    return CAPITAL_WIDTH if c.isupper() else CHARACTER_WIDTH


def bold_width(text):
    return BOLD_WIDENING * text_width(text)


def gate_half_width(symbol):
    return max(GATE_RADIUS, bold_width(symbol) / 2 + 6)


def head_width(place):
    if place.is_gate:
        return max(2 * gate_half_width(place.symbol), bold_width(place.name))
    return bold_width(place.name) + 6


def make_picture(layers):
    heads, stubs, gaps = measure_layers(layers)
    picture = Picture(0.0, 0.0)
    left = float(MARGIN)
    starts = []
    for head, stub, gap in zip(heads, stubs, gaps, strict=True):
        starts.append(left)
        left += head + stub + gap
    picture.width = left + MARGIN
    heights = [place.height for layer in layers for place in layer]
    picture.height = max(heights) + UNIT_HEIGHT + 2 * MARGIN
    top = MARGIN + UNIT_HEIGHT / 2
    for layer, start, head, stub in zip(layers, starts, heads, stubs, strict=True):
        for place in layer:
            y, end = top + place.height, start + head + stub
            if place.unit is None:
                picture.lines.append((start, y, end, y))
            else:
                add_unit(picture, place, start, head, end, y)
            for source, offset in place.sources:
                k = source.layer
                from_x, from_y = starts[k] + heads[k] + stubs[k], top + source.height
                picture.curves.append((from_x, from_y, start, y + offset))
                if offset:  # the gate is drawn over its end
                    picture.lines.append((start, y + offset, start + head / 2, y + offset))
            if len(place.targets) > 1:
                picture.dots.append((end, y))
    return picture


def measure_layers(layers):
    """Return the widths of the layers' heads (gates and names) and stubs, and the gaps after."""
    heads, stubs, gaps = [], [], []
    for i, layer in enumerate(layers):
        units = [place for place in layer if place.unit is not None]
        heads.append(max(map(head_width, units)))
        stubs.append(
            max(max(text_width(place.value), text_width(place.gradient)) for place in units) + 10
        )
        n_wires = sum(len(place.targets) for place in layer)
        is_last = i == len(layers) - 1
        gaps.append(0 if is_last else min(LARGEST_GAP, LAYER_GAP + GAP_PER_WIRE * n_wires))
    return heads, stubs, gaps


def add_unit(picture, place, start, head, end, y):
    middle, from_x = start + head / 2, start + head
    if place.is_gate:
        half = gate_half_width(place.symbol)
        picture.gates.append((middle, y, half, place.symbol))
        picture.gate_names.append((middle, y - GATE_NAME_OFFSET, place.name))
        if len(place.sources) == 1:
            picture.lines.append((start, y, middle - half, y))
        picture.lines.append((middle + half, y, end, y))
    else:
        picture.names.append((from_x - 4, y, place.name))
        picture.lines.append((from_x, y, end, y))
    number_x = (from_x + end) / 2
    picture.numbers.append((number_x, y - 9, place.value, VALUE_COLOR))
    picture.numbers.append((number_x, y + 10, place.gradient, GRADIENT_COLOR))


# ---- renderers -----------------------------------------------------------------------------------

BOLD, AT_END = ' font-weight="bold"', ' text-anchor="end"'


def as_svg(picture):
    width, height = picture.width, picture.height
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.1f} {height:.1f}" font-family="Helvetica, Arial, sans-serif" '
        f'font-size="{FONT_SIZE}" text-anchor="middle">',
        f'<rect width="{width:.1f}" height="{height:.1f}" fill="white"/>',
        f'<g fill="none" stroke="{INK}" stroke-width="1">',
    ]
    parts += [f'<path d="M{a:.1f} {b:.1f}H{c:.1f}"/>' for a, b, c, _ in picture.lines]
    for x0, y0, x1, y1 in picture.curves:
        x = (x0 + x1) / 2
        parts.append(
            f'<path d="M{x0:.1f} {y0:.1f}C{x:.1f} {y0:.1f} {x:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"/>'
        )
    parts.append("</g>")
    parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" fill="{INK}"/>' for x, y in picture.dots]
    for x, y, half, symbol in picture.gates:
        parts.append(
            f'<rect x="{x - half:.1f}" y="{y - GATE_RADIUS:.1f}" width="{2 * half:.1f}" '
            f'height="{2 * GATE_RADIUS}" rx="{GATE_RADIUS}" fill="white" stroke="{INK}"/>'
        )
        parts.append(svg_text(x, y, symbol, INK, BOLD))
    parts += [svg_text(x, y, name, INK, BOLD + AT_END) for x, y, name in picture.names if name]
    parts += [svg_text(x, y, name, INK, BOLD) for x, y, name in picture.gate_names if name]
    parts += [svg_text(*number) for number in picture.numbers if number[2]]
    parts.append("</svg>")
    return SvgText("\n".join(parts))


def svg_text(x, y, text, color, attributes=""):
    return f'<text x="{x:.1f}" y="{y + 4:.1f}" fill="{color}"{attributes}>{escape(text)}</text>'


def as_figure(picture):
    try:
        import matplotlib.pyplot as plt
        from matplotlib.patches import FancyBboxPatch, PathPatch
        from matplotlib.path import Path
    except ImportError:
        raise ImportError(
            'Circuit.draw("matplotlib") needs matplotlib: pip install "fastnn-kernels[plot]"'
        ) from None
    points_per_inch = 72
    size = picture.width / points_per_inch, picture.height / points_per_inch
    figure = plt.figure(figsize=size)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, picture.width), ylim=(picture.height, 0))
    axes.set_axis_off()
    for x0, y0, x1, y1 in picture.lines:
        axes.plot([x0, x1], [y0, y1], color=INK, linewidth=1, zorder=1)
    for x0, y0, x1, y1 in picture.curves:
        x = (x0 + x1) / 2
        path = Path([(x0, y0), (x, y0), (x, y1), (x1, y1)], [Path.MOVETO] + 3 * [Path.CURVE4])
        axes.add_patch(PathPatch(path, fill=False, edgecolor=INK, linewidth=1, zorder=1))
    for x, y in picture.dots:
        axes.plot([x], [y], marker="o", markersize=4, color=INK, zorder=2)
    for x, y, half, symbol in picture.gates:
        box = FancyBboxPatch(
            (x - half, y - GATE_RADIUS),
            2 * half,
            2 * GATE_RADIUS,
            boxstyle=f"round,pad=0,rounding_size={GATE_RADIUS}",
            facecolor="white",
            edgecolor=INK,
            zorder=3,
        )
        axes.add_patch(box)
        figure_text(axes, x, y, symbol, INK, fontweight="bold")
    for x, y, name in picture.names:
        figure_text(axes, x, y, name, INK, fontweight="bold", ha="right")
    for x, y, name in picture.gate_names:
        figure_text(axes, x, y, name, INK, fontweight="bold")
    for number in picture.numbers:
        figure_text(axes, *number)
    return figure


def figure_text(axes, x, y, text, color, **options):
    options = {"ha": "center", "va": "center", "zorder": 4, "parse_math": False, **options}
    axes.text(x, y, text, color=color, fontsize=FONT_SIZE, **options)
