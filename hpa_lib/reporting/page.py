"""The report as one HTML page: headings, texts, tables and figures, and no other file."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hpa_lib import store

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0; font-size: .9rem; display: block; overflow-x: auto }
td, th { padding: .2rem .7rem; text-align: right }
th { border-bottom: 2px solid #444 } td:first-child, th:first-child { text-align: left }
tr:nth-child(even) { background: #f4f4f4 } img { max-width: 100% } .stamp { color: #D55E00; font-weight: bold }
"""


def write_html(out: Path, title: str, sections: Sequence[tuple], synthetic: bool) -> Path:
    """``out/report.html``: one page that needs no other file.

    Args:
        out: the run set.
        title: of the page.
        sections: (heading, text, items); an item is a DataFrame or the name of a stored figure.
        synthetic: True puts a notice below the title.

    Returns:
        The page's path.

    Raises:
        MissingInput: a figure is not there; the sentence names the notebook that makes it.
    """
    parts = [f"<h1>{html.escape(title)}</h1>"]
    if synthetic:
        parts.append('<p class="stamp">SYNTHETIC DATA: no score on this page is a measurement of real cells.</p>')
    for heading, text, items in sections:
        parts.append(f"<h2>{html.escape(heading)}</h2><p>{html.escape(text)}</p>")
        parts += [_item(out, item) for item in items]
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>"
    text = page + "\n".join(parts) + "</html>\n"
    return store.write_atomic(Path(out) / "report.html", lambda path: path.write_text(text, encoding="utf-8"))


def _item(out: Path, item: pd.DataFrame | str) -> str:
    if isinstance(item, pd.DataFrame):
        return item.to_html(index=False, float_format=lambda value: f"{value:.3f}", na_rep="", border=0)
    picture = base64.b64encode(store.need(out, f"figures/{item}.png").read_bytes()).decode()
    return f'<img alt="{html.escape(item)}" src="data:image/png;base64,{picture}">'
