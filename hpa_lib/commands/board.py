"""``hpa leaderboard``: the submissions of a course, ranked."""

import argparse

import hpa_synth
from hpa_lib.decisions import leaderboard
from hpa_lib.reporting import board


def make(options: argparse.Namespace) -> int:
    """Print the board and what could not be scored; with ``--out`` write it as a table and as a page."""
    if not 0 < options.public < 1:
        raise ValueError(f"--public {options.public}: use a share between 0 and 1, such as 0.3")
    if options.anonymous and not options.out:
        raise ValueError("--anonymous without --out DIR: the key of the numbers is stored beside that folder")
    files = leaderboard.find_files(options.submissions)
    if options.anonymous:
        out = options.out.resolve()
        key = out.with_name(f"{out.name}-key.json")  # beside the folder, which is what is published
        numbers = leaderboard.number_teams(key, list(files))
        files = {numbers[team]: path for team, path in files.items()}
    table, refused, limits = leaderboard.make(files, options.truth, options.public, options.final, options.baselines)
    shown = table.drop(columns=["kind", "notes"]).astype(object).fillna("")
    print(shown.to_string(index=False, float_format="{:.3f}".format))
    for team, note in table.loc[table["notes"] != "", ["team", "notes"]].itertuples(index=False):
        print(f"note: {team}: {note}")
    print(*(f"limit: {limit}\n" for limit in limits), sep="", end="")
    for team, reason in refused.itertuples(index=False):
        print(f"not ranked: {team}: {reason}")
    if options.out:
        part, share = ("private", 1 - options.public) if options.final else ("public", options.public)
        stamps = [f"Macro F1 on the {part} part: {share:.0%} of the test images"]
        stamps += limits
        stamps += ["Synthetic data: no measurement of real cells"] if hpa_synth.is_synthetic(options.truth) else []
        print(f"page        {board.write(options.out, table, refused, stamps)}")
    if options.anonymous:
        print(f"key         {key} (who has which number: do not publish it)")
    return 1 if len(refused) else 0
