"""``python -m hpa_synth OUT`` draws a data set; ``hpa synth OUT`` is the same. Exit codes as the ``hpa`` command's."""

import argparse
import sys
from pathlib import Path

import hpa_synth
from hpa_synth import secrecy


def make_parser(program: str) -> argparse.ArgumentParser:
    """The parser of the generator's command line; ``program`` is the name in its messages."""
    parser = argparse.ArgumentParser(prog=program, description="Draw a synthetic data set in Kaggle's layout.")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to write")
    parser.add_argument("--profile", choices=hpa_synth.DATA_SETS, default="quick")
    parser.add_argument("--images", type=int, help="number of images in place of the profile's")
    parser.add_argument("--size", type=int, help="side in pixels in place of the profile's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--imbalance", type=float, metavar="RATIO", help="commonest : rarest class, such as 1, 10, 1000"
    )
    parser.add_argument("--secret", action="store_true", help="for a course: nothing in OUT gives the test labels away")
    parser.add_argument("--truth", type=Path, metavar="DIR", help="with --secret: where the test labels are stored")
    parser.add_argument("--workers", type=int, help="processes; default: one per core")
    return parser


def draw(arguments: list[str] | None = None, program: str = "python -m hpa_synth") -> int:
    """Draw the data set that a command line asks for and print its folder.

    Raises:
        ValueError: a number is out of range, or the folder holds something else.
    """
    options = vars(make_parser(program).parse_args(arguments))
    out = options.pop("out").expanduser()
    if options.pop("secret") != bool(options["truth"]):
        raise ValueError("--secret and --truth DIR belong together: give both, or neither of them")
    hpa_synth.write_dataset(out, **options, progress=True)
    print(f"data {out}")
    if options["truth"]:
        truth = options["truth"].expanduser() / secrecy.TRUTH
        print(f"truth {truth} (this folder, with the labels and the seeds, is for the teachers only)")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(draw())
    except (ValueError, OSError) as error:
        print(f"hpa_synth: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("hpa_synth: interrupted", file=sys.stderr)
        sys.exit(130)
