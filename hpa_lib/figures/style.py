"""The house style: a colour-blind safe palette, sizes and fonts, captions, and the stamp on synthetic data."""

import matplotlib.pyplot as plt
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

SETTINGS = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color=CYCLE),
    "axes.grid": False,
    "grid.color": "#DDDDDD",
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


def new_figure(width: float = 8, height: float = 4, **subplots):
    """A figure in the house style and its axes.

    Args:
        width, height: inches.
        **subplots: passed to ``plt.subplots`` (``nrows``, ``ncols``, ``sharex``, ...).

    Returns:
        ``fig, axes`` as ``plt.subplots`` gives them.
    """
    plt.rcParams.update(SETTINGS)  # stays on: titles and legends that come later follow the style too
    return plt.subplots(figsize=(width, height), **subplots)


def caption(fig: Figure, text: str, synthetic: bool = False) -> Figure:
    """The same figure with a caption below it and, where the data is synthetic, the stamp that says so."""
    fig.supxlabel(text, fontsize=9, color="#444444", x=0.01, ha="left")
    if synthetic:
        fig.suptitle("synthetic data", fontsize=9, color=COLORS["vermilion"], x=0.99, ha="right")
    return fig


def cycle(number: int) -> list[str]:
    """``number`` colours, the palette's in order, again from its start when there are more than it has."""
    return [CYCLE[index % len(CYCLE)] for index in range(number)]


def marks(number: int) -> list[dict]:
    """``number`` looks for ``ax.plot``, no two alike: colour, marker and, from the eighth on, a broken line."""
    lines = ("-", "--", ":", "-.")
    return [
        {"color": color, "marker": "osD^v<>P"[index % 8], "linestyle": lines[index // len(CYCLE) % len(lines)]}
        for index, color in enumerate(cycle(number))
    ]
