"""The report as one HTML page that needs no other file, and the same in ``report/`` as Markdown, CSV and LaTeX."""

import base64
import hashlib
import html
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from pandas.api import types
from pandas.io.formats.style import Styler

from hpa_lib import store

STYLE = """
:root { color-scheme: light } a { color: #005A8C } .stamp { color: #B34700; font-weight: bold }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; color: #222;
  background: #fff; overflow-wrap: break-word }
h1, h2 { line-height: 1.2 }
h2 { margin-top: 3rem; border-bottom: 1px solid #ccc } p, li, figcaption { max-width: 48rem }
figure { margin: 2rem 0 } figcaption { margin: .5rem 0; font-size: .9rem }
.scroll { overflow-x: auto } img { display: block; max-width: 100% }
table { border-collapse: collapse; font-size: .9rem } tr:nth-child(even) td { background: #f4f4f4 }
td, th { padding: .2rem .7rem; text-align: right; vertical-align: top } th { border-bottom: 2px solid #444 }
.text, .long { text-align: left } .long { min-width: 13rem } td.number, td.text { white-space: nowrap }
@media (max-width: 40rem) { .scroll img { max-width: none; width: 40rem } }
@media print { body { margin: 0; max-width: none; font-size: 10pt } .scroll { overflow: visible }
  figure, tr { break-inside: avoid } h2, figcaption { break-after: avoid } img { max-height: 22cm }
  table { font-size: 7pt; width: 100% } td, th { padding: 1pt 3pt } .long { min-width: 0 }
  td.text { white-space: normal; overflow-wrap: anywhere } }
"""
HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="icon" href="data:,"><style>{style}</style></head><body>
<h1>{title}</h1>"""


class Item(NamedTuple):
    """A table or a stored figure of the report."""

    name: str  # of its files
    caption: str
    made_from: list[str]  # names of files in the run set
    table: pd.DataFrame | None = None  # None: the figure of this name
    label: str = ""  # "Table 2", given by ``write``


class Section(NamedTuple):
    """A heading, a text below it, then tables and figures."""

    heading: str
    text: str
    items: list[Item]


def write(out: Path, title: str, stamps: Sequence[str], sections: Sequence[Section], record: dict) -> Path:
    """``out/report.html``, its path returned, its tables, and ``out/report/`` with Markdown, CSV and LaTeX.

    A figure that was not stored and a table without rows are left out with one sentence. ``report/manifest.json`` says
    of which files, with their SHA-256, and of which runs each item was made.

    Args:
        out: the run set.
        title: of the page.
        stamps: sentences below the title, the first of which says what data it is.
        sections: in their order.
        record: how the page was made; the manifest begins with it.
    """
    out, sections = Path(out), _number(Path(out), sections)
    items = [item for section in sections for item in section.items]
    for item in items:
        _export(out, item)
    _write_text(out / "report" / "report.md", _make_markdown(title, stamps, sections))
    store.save_json(out, "report/manifest.json", record | {"items": [_trace(out, item) for item in items]})
    return _write_text(out / "report.html", _make_html(out, title, stamps, sections))


def write_sheet(
    out: Path, name: str, title: str, stamps: Sequence[str], sections: Sequence[Section], style: str
) -> Path:
    """A page without stored figures and manifest: ``out/<name>.html``, its path returned, and ``out/<name>.md``.

    Args: as ``write``; ``style`` is CSS that is added to the report's.
    """
    sections = _number(out, sections)
    _write_text(out / f"{name}.md", _make_markdown(title, stamps, sections))
    return _write_text(out / f"{name}.html", _make_html(out, title, stamps, sections, style))


def list_tables(section: Section) -> list[Styler]:
    """The tables of a section as they are printed, with their captions, for ``display``."""
    styled = {item.caption: item.table.map(_format).style for item in section.items if item.table is not None}
    return [table.format(escape="html").hide(axis="index").set_caption(name) for name, table in styled.items()]


def _format(value) -> str:
    """A cell as it is printed: three decimals (one from 10 on), and nothing for what is not known."""
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return ""
    if types.is_float(value):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"
    return f"{value:,}"


def _number(out: Path, sections: Sequence[Section]) -> list[Section]:
    """The sections with numbered items; what is not there is named in a sentence."""
    counts, numbered = Counter(), []
    for heading, text, items in sections:
        present, missing = [], []
        for item in items:
            kind = "Figure" if item.table is None else "Table"
            if _stored_files(out, item) if kind == "Figure" else len(item.table):
                counts[kind] += 1
                present.append(item._replace(label=f"{kind} {counts[kind]}"))
            else:
                reason = f"made by {store.made_by(f'figures/{item.name}')}" if kind == "Figure" else "no such runs"
                missing.append(f"{item.caption.rstrip('.')} ({reason})")
        sentence = f" Not in this run set: {'; '.join(missing)}." if missing else ""
        numbered.append(Section(heading, text + sentence, present))
    return numbered


def _stored_files(out: Path, item: Item) -> list[str]:
    """The files of a figure, as far as there are: its picture, its PDF and the numbers that it shows."""
    names = [f"figures/{item.name}.{suffix}" for suffix in ("png", "pdf", "csv")]
    return [name for name in names if item.table is None and (out / name).exists()]


def _export(out: Path, item: Item) -> None:
    for name in _stored_files(out, item):
        store.write_atomic(out / "report" / name, lambda part, name=name: shutil.copyfile(out / name, part))
    if item.table is not None:
        store.save_table(out, f"tables/{item.name}.csv", item.table)
        store.save_table(out, f"report/tables/{item.name}.csv", item.table)
        _write_text(out / f"report/tables/{item.name}.tex", _make_latex(item))


def _trace(out: Path, item: Item) -> dict:
    names, folder = sorted({*item.made_from, *_stored_files(out, item)}), "figures" if item.table is None else "tables"
    digests = {name: hashlib.sha256(store.need(out, name).read_bytes()).hexdigest() for name in names}
    runs = sorted({name.split("/")[1] for name in names if name.startswith("runs/")})
    traced = {"made_by": store.made_by(f"{folder}/{item.name}"), "runs": runs, "made_from": digests}
    return {"label": item.label, "name": item.name, "caption": item.caption} | traced


def _write_text(path: Path, text: str) -> Path:
    return store.write_atomic(path, lambda part: part.write_text(text, encoding="utf-8", newline="\n"))


def _kinds(table: pd.DataFrame) -> list[str]:
    """``number``, ``text`` or ``long`` (texts to be wrapped) for each column."""
    longest = [column.map(lambda value: len(_format(value))).max() for _, column in table.items()]
    texts = ["long" if length > 32 else "text" for length in longest]
    return ["number" if types.is_numeric_dtype(table[name]) else text for name, text in zip(table, texts, strict=True)]


def _make_html(out: Path, title: str, stamps: Sequence[str], sections: Sequence[Section], style: str = "") -> str:
    title, *stamps = map(html.escape, [title, *stamps])
    parts = [HEAD.format(title=title, style=STYLE + style), f'<p class="stamp">{stamps[0]}</p>\n<ul>']
    parts += [*(f"<li>{stamp}</li>" for stamp in stamps[1:]), '</ul>\n<nav aria-label="Contents"><ol>']
    parts += [f'<li><a href="#{_anchor(heading)}">{html.escape(heading)}</a></li>' for heading, _, _ in sections]
    parts.append("</ol></nav>")
    for heading, text, items in sections:
        parts.append(f'<section id="{_anchor(heading)}">\n<h2>{html.escape(heading)}</h2>\n<p>{html.escape(text)}</p>')
        parts += [*(_make_html_item(out, item) for item in items), "</section>"]
    return "\n".join([*parts, "</body>\n</html>\n"])


def _anchor(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower()).strip("-")


def _make_html_item(out: Path, item: Item) -> str:
    caption = html.escape(item.caption)
    if item.table is None:
        picture = base64.b64encode((out / f"figures/{item.name}.png").read_bytes()).decode()
        shown = f'<img alt="{caption}" src="data:image/png;base64,{picture}">'
    else:
        shown = _make_html_table(item.table)
    box = f'<div class="scroll" tabindex="0" role="region" aria-label="{item.label}">{shown}</div>'
    title = f"<figcaption><b>{item.label}.</b> {caption}</figcaption>"
    return f'<figure id="{_anchor(item.label)}">{title}{box}</figure>'


def _make_html_table(table: pd.DataFrame) -> str:
    kinds, lines = _kinds(table), []
    for tag, row in [("th", table.columns), *(("td", row) for row in table.map(_format).itertuples(index=False))]:
        cells = [f'<{tag} class="{kind}">{_mark_up(text)}</{tag}>' for kind, text in zip(kinds, row, strict=True)]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "\n".join(["<table><thead>", lines[0], "</thead><tbody>", *lines[1:], "</tbody></table>"])


def _mark_up(text: str) -> str:
    """The HTML of a cell, its second line in small print."""
    first, _, second = html.escape(text).partition("\n")
    return f"{first}<br><small>{second}</small>" if second else first


def _make_markdown(title: str, stamps: Sequence[str], sections: Sequence[Section]) -> str:
    parts = [f"# {title}", "\n".join(f"- {stamp}" for stamp in stamps)]
    for heading, text, items in sections:
        parts += [f"## {heading}", text]
        for item in items:
            picture = f"![{item.label}](figures/{item.name}.png)"
            shown = picture if item.table is None else _make_markdown_table(item.table)
            parts += [f"**{item.label}.** {item.caption}", shown]
    return "\n\n".join(parts) + "\n"


def _make_markdown_table(table: pd.DataFrame) -> str:
    rules = ["---:" if kind == "number" else "---" for kind in _kinds(table)]
    rows = [table.columns, rules, *table.map(_format).itertuples(index=False)]
    return "\n".join(
        "| " + " | ".join(text.replace("|", r"\|").replace("\n", "<br>") for text in row) + " |" for row in rows
    )


def _make_latex(item: Item) -> str:
    r"""A table in booktabs style, to be read in by ``\input``; long texts are wrapped."""
    columns = "".join({"number": "r", "text": "l", "long": "p{4cm}"}[kind] for kind in _kinds(item.table))
    options = {"index": False, "escape": True, "column_format": columns, "label": f"tab:{item.name}"}
    return item.table.map(_format).to_latex(caption=re.sub(r"[%&_#$]", r"\\\g<0>", item.caption), **options)
