"""The report as one HTML page that needs no other file, and the same in ``report/`` as Markdown, CSV and LaTeX.

A section is a tuple (heading, text, items). An item is a dictionary: ``name`` of its files, ``caption``, ``made_from``
(names of files in the run set) and, for a table, ``table``; without it, it is the stored figure of that name.
"""

import base64
import hashlib
import html
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from pandas.api import types

from hpa_lib import store

STYLE = """
:root { color-scheme: light }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; color: #222;
  background: #fff; overflow-wrap: break-word }
h1, h2 { line-height: 1.2 } h2 { margin-top: 3rem; border-bottom: 1px solid #ccc } a { color: #005A8C }
p, li { max-width: 48rem } .stamp { color: #B34700; font-weight: bold }
figure { margin: 2rem 0 } figcaption { margin: .5rem 0; max-width: 48rem; font-size: .9rem }
.scroll { overflow-x: auto } img { display: block; max-width: 100% }
table { border-collapse: collapse; font-size: .9rem } tr:nth-child(even) td { background: #f4f4f4 }
td, th { padding: .2rem .7rem; text-align: right; vertical-align: top } th { border-bottom: 2px solid #444 }
.text, .long { text-align: left } .long { min-width: 13rem } td.number { white-space: nowrap }
@media (max-width: 40rem) { .scroll img { max-width: none; width: 40rem } }
@media print {
  body { margin: 0; max-width: none; font-size: 10pt } .scroll { overflow: visible }
  figure, tr { break-inside: avoid } h2, figcaption { break-after: avoid } img { max-height: 22cm }
  table { font-size: 7pt; width: 100% } td, th { padding: 1pt 3pt } .long { min-width: 0 }
  td { word-break: break-word }
}
"""
HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>"""


def write(out: Path, title: str, stamps: Sequence[str], sections: Sequence[tuple], record: dict) -> Path:
    """``out/report.html`` and the folder ``out/report/``: ``report.md``, ``tables/``, ``figures/``, ``manifest.json``.

    What is not there is left out with one sentence: a figure that was not stored, a table without rows.

    Args:
        out: the run set.
        title: of the page.
        stamps: sentences below the title, the first of which says what data it is.
        sections: in their order (see above).
        record: how the page was made; the manifest begins with it.

    Returns:
        The page's path.
    """
    out = Path(out)
    sections = _number(out, sections)
    items = [item for _, _, section_items in sections for item in section_items]
    for item in items:
        _export(out, item)
    _write_text(out / "report" / "report.md", _write_markdown(title, stamps, sections))
    store.save_json(out, "report/manifest.json", record | {"items": _trace(out, items)})
    return _write_text(out / "report.html", _write_html(out, title, stamps, sections))


def format_table(table: pd.DataFrame) -> pd.DataFrame:
    """The table as it is printed: all texts, three decimals (one from 10 on), nothing for what is not known."""
    return table.map(_format)


def _format(value) -> str:
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return ""
    if types.is_float(value):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"
    return f"{value:,}"


def _number(out: Path, sections: Sequence[tuple]) -> list[tuple]:
    """The sections with a ``label`` in each item, such as ``"Table 2"``; items that are not there become sentences."""
    counts, numbered = {"Table": 0, "Figure": 0}, []
    for heading, text, items in sections:
        present = []
        for item in items:
            kind = "Table" if "table" in item else "Figure"
            if item["table"].empty if kind == "Table" else not _list_files(out, item):
                text += f" {kind} left out, there is nothing to show: {item['caption']}"
            else:
                counts[kind] += 1
                present.append(item | {"label": f"{kind} {counts[kind]}"})
        numbered.append((heading, text, present))
    return numbered


def _list_files(out: Path, item: dict) -> list[Path]:
    """The stored files of a figure: its picture, its PDF and the numbers that it shows, as far as there are."""
    paths = [out / f"figures/{item['name']}.{suffix}" for suffix in ("png", "pdf", "csv")]
    return [path for path in paths if path.exists()]


def _export(out: Path, item: dict) -> None:
    if "table" in item:
        store.save_table(out, f"report/tables/{item['name']}.csv", item["table"])
        _write_text(out / f"report/tables/{item['name']}.tex", _write_latex(item))
        return
    for file in _list_files(out, item):
        store.write_atomic(out / "report" / "figures" / file.name, lambda part, file=file: shutil.copyfile(file, part))


def _trace(out: Path, items: Sequence[dict]) -> list[dict]:
    """For each item of the page: what it was made from, with the SHA-256 of each file, of which runs, and by what."""
    rows = []
    for item in items:
        files = [] if "table" in item else [path.relative_to(out).as_posix() for path in _list_files(out, item)]
        names = sorted({*item["made_from"], *files})
        rows.append(
            {
                **{key: item[key] for key in ("label", "name", "caption")},
                "made_by": store.made_by(f"{'tables' if 'table' in item else 'figures'}/{item['name']}"),
                "runs": sorted({name.split("/")[1] for name in names if name.startswith("runs/")}),
                "made_from": {name: hashlib.sha256(store.need(out, name).read_bytes()).hexdigest() for name in names},
            }
        )
    return rows


def _write_text(path: Path, text: str) -> Path:
    return store.write_atomic(path, lambda part: part.write_text(text, encoding="utf-8", newline="\n"))


def _kinds(table: pd.DataFrame) -> list[str]:
    """``number``, ``text`` or ``long`` (texts to be wrapped) for each column."""
    longest = [column.map(lambda value: len(_format(value))).max() for _, column in table.items()]
    texts = ["long" if length > 32 else "text" for length in longest]
    return ["number" if types.is_numeric_dtype(table[name]) else text for name, text in zip(table, texts, strict=True)]


def _write_html(out: Path, title: str, stamps: Sequence[str], sections: Sequence[tuple]) -> str:
    title, *stamps = map(html.escape, [title, *stamps])
    parts = [HEAD.format(title=title, style=STYLE), f'<h1>{title}</h1>\n<p class="stamp">{stamps[0]}</p>\n<ul>']
    parts += [*(f"<li>{stamp}</li>" for stamp in stamps[1:]), '</ul>\n<nav aria-label="Contents"><ol>']
    headings = [(html.escape(heading), _anchor(heading)) for heading, _, _ in sections]
    parts += [*(f'<li><a href="#{anchor}">{heading}</a></li>' for heading, anchor in headings), "</ol></nav>"]
    for (heading, anchor), (_, text, items) in zip(headings, sections, strict=True):
        parts.append(f'<section id="{anchor}">\n<h2>{heading}</h2>\n<p>{html.escape(text)}</p>')
        parts += [*(_write_html_item(out, item) for item in items), "</section>"]
    return "\n".join([*parts, "</body>\n</html>\n"])


def _anchor(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower()).strip("-")


def _write_html_item(out: Path, item: dict) -> str:
    caption = html.escape(item["caption"])
    title = f"<figcaption><b>{item['label']}.</b> {caption}</figcaption>"
    box = f'<div class="scroll" tabindex="0" role="region" aria-label="{item["label"]}">'
    if "table" in item:
        return f'<figure id="{_anchor(item["label"])}">{title}{box}{_write_html_table(item["table"])}</div></figure>'
    picture = base64.b64encode((out / f"figures/{item['name']}.png").read_bytes()).decode()
    image = f'<img alt="{caption}" src="data:image/png;base64,{picture}">'
    return f'<figure id="{_anchor(item["label"])}">{box}{image}</div>{title}</figure>'


def _write_html_table(table: pd.DataFrame) -> str:
    kinds, lines = _kinds(table), []
    for tag, row in [("th", table.columns), *(("td", row) for row in format_table(table).itertuples(index=False))]:
        cells = [f'<{tag} class="{kind}">{html.escape(text)}</{tag}>' for kind, text in zip(kinds, row, strict=True)]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "\n".join(["<table><thead>", lines[0], "</thead><tbody>", *lines[1:], "</tbody></table>"])


def _write_markdown(title: str, stamps: Sequence[str], sections: Sequence[tuple]) -> str:
    parts = [f"# {title}", "\n".join(f"- {stamp}" for stamp in stamps)]
    for heading, text, items in sections:
        parts += [f"## {heading}", text]
        for item in items:
            picture = f"![{item['label']}](figures/{item['name']}.png)"
            shown = _write_markdown_table(item["table"]) if "table" in item else picture
            parts += [f"**{item['label']}.** {item['caption']}", shown]
    return "\n\n".join(parts) + "\n"


def _write_markdown_table(table: pd.DataFrame) -> str:
    rules = ["---:" if kind == "number" else "---" for kind in _kinds(table)]
    rows = [table.columns, rules, *format_table(table).itertuples(index=False)]
    return "\n".join("| " + " | ".join(text.replace("|", r"\|") for text in row) + " |" for row in rows)


def _write_latex(item: dict) -> str:
    r"""A table in booktabs style, to be read in by ``\input``; long texts are wrapped."""
    columns = "".join({"number": "r", "text": "l", "long": "p{4cm}"}[kind] for kind in _kinds(item["table"]))
    options = {"index": False, "escape": True, "column_format": columns, "label": f"tab:{item['name']}"}
    return format_table(item["table"]).to_latex(caption=item["caption"].replace("%", r"\%"), **options)
