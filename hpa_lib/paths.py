"""Where the data and the outputs are stored. Nothing is made or read at import."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
KAGGLE_INPUT = Path("/kaggle/input")
KAGGLE_NAMES = (  # newer sessions mount a competition's data in a folder of its own
    "competitions/human-protein-atlas-image-classification",
    "human-protein-atlas-image-classification",
)
DEFAULT_DATA = PROJECT / "data" / "synthetic-quick"
DEFAULT_OUT = PROJECT / "outputs" / "default"
SYNTHETIC = "synthetic-"  # a missing folder of this name and a profile is drawn by notebook 00


def find_data(data: str | Path = "") -> tuple[Path, str]:
    """The data folder (or downloaded zip) and where that choice came from.

    The first that is set wins: the argument, the environment variable ``HPA_DATA``, Kaggle's own folder when it
    exists, else the synthetic default (which notebook 00 draws when it is missing).

    Args:
        data: a folder in Kaggle's layout or its zip, or ``""`` for the search above.

    Returns:
        The absolute path (it need not exist yet) and one of ``"argument"``, ``"HPA_DATA"``, ``"Kaggle"``,
        ``"synthetic default"``.
    """
    if str(data).strip():
        return Path(data).expanduser().resolve(), "argument"
    if os.environ.get("HPA_DATA"):
        return Path(os.environ["HPA_DATA"]).expanduser().resolve(), "HPA_DATA"
    for name in KAGGLE_NAMES:
        if (KAGGLE_INPUT / name).is_dir():
            return KAGGLE_INPUT / name, "Kaggle"
    return DEFAULT_DATA, "synthetic default"


def synthetic_profile(data: Path) -> str:
    """The profile to draw when ``data``, named ``synthetic-<profile>``, is missing or half drawn; else ``""``.

    Raises:
        ValueError: the folder is missing and not named so.
    """
    if data.is_file() or (data / "train.csv").exists():
        return ""
    if not data.name.startswith(SYNTHETIC):
        if data.exists():
            return ""
        raise ValueError(
            f"the data {data} is not there: set DATA or HPA_DATA to a folder with train.csv, or leave both empty "
            f"for synthetic data"
        )
    return data.name.removeprefix(SYNTHETIC)


def find_out(out: str | Path = "") -> Path:
    """The folder of one run set: the argument, else ``HPA_OUT``, else ``outputs/default``; it need not exist."""
    return Path(out or os.environ.get("HPA_OUT") or DEFAULT_OUT).expanduser().resolve()
