"""A set for a course: its seeds, the key of its Ids and the truth of its test part are in a folder of their own.

The seeds and the key come from the operating system's random numbers, 122 bits and more each, so nobody can try them
all. Either part has a seed of its own: what is known of the training part says nothing about the test part.
"""

import os
import secrets
import time
import uuid
from pathlib import Path

from hpa_lib import atlas
from hpa_synth import cards

TRUTH = "test_truth.csv"


def find(out: Path, truth: Path, card: dict) -> dict:
    """The secret of a set: the one in ``truth``, or a new one, which is not written yet.

    Args:
        out: the folder that is handed out.
        truth: the folder that is not.
        card: of the set, with a seed that does not count.

    Returns:
        ``set`` (a name without meaning, which the handed-out card has too), ``ids`` (the key of all Ids), and the seeds
        ``train`` and ``test``.

    Raises:
        ValueError: ``truth`` would be handed out too, or holds another set's truth.
    """
    if truth.resolve().is_relative_to(out.resolve()):
        raise ValueError(f"{truth} is inside {out}, which is handed out: keep the truth in another folder")
    if not (truth / cards.CARD).exists():
        if (truth / TRUTH).exists():
            raise ValueError(f"{truth} holds the truth of another set: give another folder")
        seeds = {part: secrets.randbits(128) for part in atlas.IMAGE_FOLDERS}
        return {"set": str(uuid.uuid4()), "ids": str(uuid.uuid4()), **seeds}
    found = cards.read_settings(truth / cards.CARD)
    secret = found.get("secret")
    if not isinstance(secret, dict) or found != add(card, secret)["settings"]:
        raise ValueError(f"{truth} holds the truth of a set with other settings: give another folder")
    return secret


def add(card: dict, secret: dict | str) -> dict:
    """The card with ``secret`` in place of its seed: all of it for ``truth``, only the set's name for ``out``."""
    settings = {name: value for name, value in card["settings"].items() if name != "seed"}
    return card | {"settings": settings | {"secret": secret}}


def level_dates(out: Path) -> None:
    """Give all files one date: a field that was hard to place took longer to draw, and only some labels are."""
    now = time.time()
    for path in out.rglob("*"):
        os.utime(path, (now, now))
