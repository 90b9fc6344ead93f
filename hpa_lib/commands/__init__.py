"""The subcommands of ``hpa``: each file adds its own to the parser. What a command needs is imported when it runs."""

from pathlib import Path


def path(text: str) -> Path:
    """A path of the command line; a shell leaves ``~`` as it is in quotation marks."""
    return Path(text).expanduser()
