"""``hpa check`` and ``hpa weights``: is all there that a training run reads?"""

import argparse

from hpa_lib.commands import path


def add(commands) -> None:
    """Add the commands of this file to argparse's subparsers."""
    check = commands.add_parser("check", help="all that is wrong with a data folder, each finding with its remedy")
    check.add_argument("data", metavar="DATA", type=path)
    check.add_argument("--size", type=int, default=0, metavar="PX", help="report images with fewer pixels per side")
    check.add_argument(
        "--quick", action="store_true", help="read headers only; decoding every PNG takes as long as building the cache"
    )
    check.add_argument("--out", default="", metavar="DIR", help="run set whose cache/ takes what is in zip archives")
    check.add_argument("--strict", action="store_true", help="notes count as failures too")
    check.set_defaults(command=check_command)

    weights = commands.add_parser("weights", help="which ImageNet weights are here, and where to get the others")
    weights.set_defaults(command=weights_command)


def check_command(options: argparse.Namespace) -> int:
    """Print the findings of a data folder; notes alone are no failure unless ``--strict``."""
    from hpa_lib import paths
    from hpa_lib.data import archives, checks

    data = archives.unpack_data(options.data, paths.find_out(options.out) / "cache" / "unpacked", clean=False)
    findings = checks.check(data, size=options.size, quick=options.quick)
    for severity, file, problem, remedy in findings[["severity", "file", "problem", "remedy"]].itertuples(index=False):
        print(f"{severity}: {file}: {problem}: {remedy}")
    serious = len(findings) if options.strict else int((findings["severity"] != "note").sum())
    print(f"{options.data}: {len(findings)} findings, {serious} of them to be fixed")
    return 1 if serious else 0


def weights_command(options: argparse.Namespace) -> int:
    """Print which ImageNet weights are here."""
    from hpa_lib.models import weights

    for row in weights.status():
        print(f"{row['model']}: {row['file']}: {row['present']}: {row['path'] or row['how']}")
    return 0
