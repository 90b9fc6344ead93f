"""``hpa import``, ``hpa check`` and ``hpa weights``: is all there that a training run reads?"""

import argparse
import sys

from hpa_lib import paths
from hpa_lib.data import archives, checks, import_images

SHOWN = 10  # findings of an import; its table has all


def import_folder(options: argparse.Namespace) -> int:
    """Write a researcher's images in Kaggle's layout."""
    names = "source out pattern channels scale crop labels label_column group_column strict"
    result = import_images.import_folder(**{name: getattr(options, name) for name in names.split()})
    out, findings = options.out, result.findings
    for file, problem, remedy in findings[:SHOWN].itertuples(index=False):
        print(f"{file}: {problem}: {remedy}")
    if len(findings) > SHOWN:
        print(f"... and {len(findings) - SHOWN} more in {out / import_images.FINDINGS}")
    print(*result.notes, sep="\n", end="\n" if result.notes else "")
    if options.strict and len(findings):
        print(f"refused: no table was written because of {len(findings)} findings in {out / import_images.FINDINGS}")
        return 1
    print(f"{out}: {result.train} images with labels, {result.test} without; {result.written} of them written now")
    print(f"{len(findings)} findings in {out / import_images.FINDINGS}")
    print(f"next: hpa check {out}" if result.train else f"no labels: next: hpa predict RUN {out / 'test'} NEW")
    return 1 if len(findings) else 0


def check(options: argparse.Namespace) -> int:
    """Print the findings of a data folder; notes alone are no failure unless ``--strict``."""
    data = archives.unpack_data(options.data, paths.find_out(options.out) / "cache" / "unpacked", clean=False)
    findings = checks.check(data, size=options.size, quick=options.quick)
    for severity, file, problem, remedy in findings[["severity", "file", "problem", "remedy"]].itertuples(index=False):
        print(f"{severity}: {file}: {problem}: {remedy}")
    serious = len(findings) if options.strict else int((findings["severity"] != "note").sum())
    print(f"{options.data}: {len(findings)} findings, {serious} of them to be fixed")
    return 1 if serious else 0


def list_weights(options: argparse.Namespace) -> int:
    """Print which ImageNet weights are here; with ``--fetch``, download a model's or all that are missing."""
    from hpa_lib.models import weights  # Keras takes seconds

    rows, code = weights.status(), 0
    if options.fetch is None:
        for row in rows:
            print(f"{row['model']}: {row['file']}: {row['present']}: {row['path'] or row['how']}")
        return 0
    names = [options.fetch] if options.fetch else [row["model"] for row in rows if row["present"] == "no"]
    for name in names:
        try:
            print(f"{name}: {weights.find(name, online=False) or weights.download(name)}", flush=True)
        except ConnectionError as error:  # the next model's source may answer
            print(f"hpa: {error}", file=sys.stderr)
            code = 2
    return code
