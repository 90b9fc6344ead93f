"""The card of a synthetic data set: what made it, in ``synthetic.json`` for programs and ``README.md`` for people."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np

from hpa_lib import atlas
from hpa_synth.data_sets import VERSION, DataSet

CARD = "synthetic.json"
NOTICE = "SYNTHETIC: procedurally drawn, not Human Protein Atlas data; scores on it say nothing about real images"


def describe(profile_name: str, settings: DataSet, seed: int, imbalance: float | None = None) -> dict:
    """The card's values as plain types; ``settings`` alone decides whether two sets are the same."""
    asked = {} if imbalance is None else {"imbalance": imbalance}
    return {
        "synthetic": True,
        "notice": NOTICE,
        "settings": {"version": VERSION, "profile": profile_name, "seed": seed, **settings._asdict(), **asked},
        "label_noise": 0,
        "code": code_hash(),
        "made_with": {"numpy": np.__version__, "opencv": cv2.__version__},
    }


def code_hash() -> str:
    """A fingerprint of the generator's own source files and label-set counts."""
    folder = Path(__file__).parent
    files = sorted(path for path in folder.iterdir() if path.suffix in {".py", ".csv"})
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def read_settings(path: Path) -> dict:
    """The settings in a card.

    Raises:
        ValueError: the file is not such a card.
    """
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the card of a synthetic data set: give a new folder") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path} is not the card of a synthetic data set: give a new folder")
    return settings


def readme(card: dict, counts: dict[str, list[int]]) -> str:
    """The card for people: notice, settings, and how many images of each part in ``counts`` show each label."""
    settings = card["settings"]
    rarity = f"Every class has at least {settings['floor']} training images (0 = natural counts)."
    if "imbalance" in settings:
        rarity = (
            f"The commonest class is wanted {settings['imbalance']:g} times as often as the rarest; test is balanced."
        )
    truth = "with whoever drew this set" if "secret" in settings else "in truth/test_truth.csv"
    drawn = "drawn with a secret seed" if "secret" in settings else f"seed {settings['seed']}"
    lines = [
        "# Synthetic fields in Kaggle's layout",
        "",
        f'**{NOTICE}.** Stamp every figure made from it "synthetic".',
        "",
        f"Generator version {settings['version']}, profile {settings['profile']}, {drawn}, "
        f"code {card['code']}: {settings['images']} training and {settings['test_images']} test images of "
        f"{settings['size']} px at {settings['um_per_px']} um per px. {rarity} Share of the "
        f"darker population: {settings['dark_train']} in train, {settings['dark_test']} in test. No label "
        "noise: every label's structure is in the frame.",
        "",
        "Images of one protein share `group` in groups.csv (2 to 4 each): keep a group in one fold. The truth of the "
        f"test part is {truth}.",
        "",
        f"| label | name | {' | '.join(counts)} |",
        "|---|---|" + "---|" * len(counts),
    ]
    for label, (name, *images) in enumerate(zip(atlas.LABELS, *counts.values(), strict=True)):
        lines.append(f"| {label} | {name} | {' | '.join(map(str, images))} |")
    return "\n".join(lines) + "\n"
