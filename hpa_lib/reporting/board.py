"""The leaderboard of a course as a page for the wall: large, with the bands in sight."""

from pathlib import Path

import pandas as pd

from hpa_lib import provenance, store
from hpa_lib.reporting import page

STYLE = """
html { font-size: clamp(14px, 1.6vw, 40px) } nav { display: none } h1, h2 { margin: 1rem 0 .5rem }
body { font-size: 1rem; max-width: none; margin: 1rem 3vw } p, li, figcaption { max-width: none; font-size: .7rem }
table { font-size: 1.1rem; width: 100% } figure { margin: .7rem 0 } tr:nth-child(even) td { background: none }
#ranking td:first-child { font-weight: bold } #not-ranked table { font-size: .7rem }
#ranking td:nth-child(3), #not-ranked td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 6rem }
small { font-size: .7rem }
#ranking tr:has(td:first-child:not(:empty)) td { border-top: 3px solid #444 }
@media (max-width: 40rem) { #ranking :is(td, th):is(:nth-child(5), :nth-child(6)) { display: none }
  table { font-size: .9rem } td, th { padding: .2rem .3rem } .long { min-width: 0 } }
"""
HEADINGS = {
    "macro_f1": "macro F1",
    "low": "from",
    "high": "to",
    "public_macro_f1": "public",
    "public_rank": "public rank",
}
ABOUT_BANDS = (
    "A band holds all that cannot be told apart from its best on this many images (the 95 % interval of the paired "
    "difference contains 0), and whoever scored between them: the order within a band may be luck. Rows without a rank "
    "are baselines, simple or strong."
)


def write(out: Path, board: pd.DataFrame, refused: pd.DataFrame, stamps: list[str]) -> Path:
    """``out/leaderboard.html`` (its path is returned), ``leaderboard.md`` and ``leaderboard.csv``.

    Args:
        out: a folder, made when it is missing.
        board, refused: from ``leaderboard.make``.
        stamps: sentences below the title; the first says what was scored.
    """
    store.save_table(out, "leaderboard.csv", board)
    shown = board.drop(columns=["kind", "notes"]).rename(columns=HEADINGS)
    shown["team"] = (board["team"] + "\n" + board["notes"]).str.strip()
    band = shown.pop("band").astype("Int64")
    shown.insert(0, "band", band.mask(band.duplicated()))
    items = [page.Item("leaderboard", "Best first, with 95 % intervals.", [], shown)]
    sections = [page.Section("Ranking", ABOUT_BANDS, items)]
    if len(refused):
        items = [page.Item("refused", "Submissions that could not be scored.", [], refused)]
        sections.append(page.Section("Not ranked", "Correct the file and hand it in again.", items))
    stamps = [*stamps, f"Made {provenance.now()}"]
    return page.write_sheet(out, "leaderboard", "Leaderboard", stamps, sections, STYLE)
