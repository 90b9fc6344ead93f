"""The house style: a colour-blind safe palette, sizes and fonts, captions, and the stamp on synthetic data."""

import textwrap

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

COLORS = {  # Okabe & Ito (2008), told apart by all common kinds of colour blindness
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermilion": "#D55E00",
    "sky": "#56B4E9",
    "purple": "#CC79A7",
    "yellow": "#F0E442",
    "black": "#000000",
    "grey": "#8A8A8A",
}
CYCLE = [COLORS[name] for name in ("blue", "orange", "green", "vermilion", "purple", "sky", "black")]
MAGNITUDES = "blend:#DDECF7,#56B4E9,#0072B2,#00304B"  # seaborn's name of a heat map's colours, light to dark
DIVERGING = "blend:#0072B2,#FFFFFF,#D55E00"  # the same for less and more than the middle

SINGLE, DOUBLE = 3.5, 7.2  # inches: one and two columns of a printed page, where the texts have 7 points or more

SETTINGS = {
    "pdf.fonttype": 42,  # TrueType: fonts are in the file, and its texts can be searched and edited
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#DDDDDD",
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


def new_figure(width: float = 8, height: float = 4, **subplots):
    """A figure of so many inches in the house style and its axes, as ``plt.subplots(**subplots)`` gives them."""
    sns.set_theme("paper", "ticks", CYCLE, rc=SETTINGS)  # stays on: legends that come later follow it too
    return plt.subplots(figsize=(width, height), **subplots)


def new_panels(number: int, width: float, height: float, columns: int, xlabel: str = "", **subplots):
    """A figure of equal panels in rows, the last of which may be short.

    Args:
        number: panels.
        width, height: inches of each panel.
        columns: panels per row, at most.
        xlabel: written below the lowest panel of each column.

    Returns:
        ``fig, axes``: the figure and its ``number`` axes in reading order.
    """
    columns = min(columns, number)
    rows = -(-number // columns)
    size = (width * columns, height * rows + 0.6)
    fig, grid = new_figure(*size, nrows=rows, ncols=columns, squeeze=False, **subplots)
    for ax in grid.flat[number:]:
        ax.set_visible(False)
    for ax in grid.flat[number - columns : number]:
        ax.set_xlabel(xlabel)
        ax.tick_params(labelbottom=True)  # also where a shared axis has hidden them and the row below is short
    return fig, grid.flat[:number]


def caption(fig: Figure, text: str, synthetic: bool = False) -> Figure:
    """The same figure with a caption below it and, where the data is synthetic, the stamp that says so."""
    text = textwrap.fill(text, int(16 * fig.get_figwidth()))  # letters of 9 points per inch
    fig.supxlabel(text, fontsize=9, color="#444444", x=0.01, ha="left")
    if synthetic:
        fig.suptitle("synthetic data", fontsize=9, color=COLORS["vermilion"], x=0.99, ha="right")
    return fig


def marks(number: int) -> list[dict]:
    """``number`` looks for ``ax.plot``, no two alike: colour, marker and, from the eighth on, a broken line."""
    looks = []
    for index in range(number):
        line = ("-", "--", ":", "-.")[index // len(CYCLE) % 4]
        looks.append({"color": CYCLE[index % len(CYCLE)], "marker": "osD^v<>P"[index % 8], "linestyle": line})
    return looks
