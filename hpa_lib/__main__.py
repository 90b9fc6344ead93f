"""The ``hpa`` command. Exit codes: 0 all is well, 1 findings or a failed run, 2 bad usage, 130 interrupted."""

import argparse
import os
import sys

import hpa_lib
from hpa_lib import provenance
from hpa_lib.commands import data, run, scores


def main(arguments: list[str] | None = None) -> int:
    """The exit code of one command line; errors are one sentence on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments[:1] == ["synth"]:
            import hpa_synth.__main__  # which has the arguments; --help and the other commands need no generator

            return hpa_synth.__main__.draw(arguments[1:], "hpa synth")
        options = make_parser().parse_args(arguments)
        return options.command(options)
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        print(f"hpa: {_explain(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hpa: interrupted", file=sys.stderr)
        return 130


def _explain(error: ValueError | OSError) -> str:
    """The sentence of an error; the system's own (a full disk, a folder that cannot be written) has no remedy yet."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    file = error.filename or "a file"
    return f"{file} cannot be used ({error.strerror}): make room or change its rights, or name another place"


def make_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands; each sets ``command`` to its function."""
    parser = argparse.ArgumentParser(prog="hpa", description="The Human Protein Atlas study from the command line.")
    parser.add_argument("--version", action=Version, nargs=0, help="print the version and the git commit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("synth", help="draw a synthetic data set in Kaggle's layout")
    data.add(commands)
    run.add(commands)
    scores.add(commands)
    return parser


class Version(argparse.Action):
    """Print version and commit and exit; git is asked only now, not whenever a parser is made."""

    def __call__(self, parser: argparse.ArgumentParser, *_) -> None:
        """What argparse calls when the option is given."""
        commit = provenance.commit()
        print(f"hpa-kit {hpa_lib.__version__}" + (f" (commit {commit})" if commit else ""))
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
