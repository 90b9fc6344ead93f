"""What a training run needs to go on after it was killed: its state, written after each epoch, atomically.

``<run>/checkpoints/state.json`` names the epoch that its weight files belong to, so the order "weights first, then
state.json, then remove what is old" leaves a usable pair behind wherever a kill strikes.
"""

import json
from pathlib import Path

import pandas as pd

from hpa_lib import store

STATE = "checkpoints/state.json"


def new_state(settings: dict) -> dict:
    """The state of a run that has not begun: no epoch done, no best one, an empty history."""
    return {"settings": settings, "epoch": 0, "best_epoch": 0, "best": None, "finished": False, "history": []}


def weights_path(folder: Path, kind: str, epoch: int) -> Path:
    """Where the weights after ``epoch`` lie; ``kind`` is ``state`` (with the optimiser's) or ``best``."""
    return Path(folder) / "checkpoints" / f"{kind}-{epoch:04d}.weights.h5"


def load_state(folder: Path, settings: dict) -> dict | None:
    """The stored state of the run in ``folder``, or None where there is none.

    Raises:
        ValueError: it was trained with other settings; the sentence names them.
    """
    if not (Path(folder) / STATE).exists():
        return None
    state = store.load_json(folder, STATE)
    stored = state["settings"]
    differing = [key for key in sorted(stored | settings) if stored.get(key) != settings.get(key)]
    if differing:
        changes = ", ".join(f"{key} {_show(stored, key)} -> {_show(settings, key)}" for key in differing)
        raise ValueError(
            f"{folder} holds a run with other settings ({changes}): give this run another RUN name, "
            "or set START_OVER to True to replace it"
        )
    return state


def forget(folder: Path) -> None:
    """Remove the stored state, before a run that starts over writes weights that it would be taken to name."""
    (Path(folder) / STATE).unlink(missing_ok=True)


def _show(settings: dict, key: str) -> str:
    return repr(settings[key]) if key in settings else "not named"


def save_state(folder: Path, state: dict):
    """Write the state and ``history.csv``, then remove the weight files that it no longer names."""
    store.save_json(folder, STATE, state)
    store.save_table(folder, "history.csv", pd.DataFrame(state["history"]))
    wanted = {weights_path(folder, "best", state["best_epoch"])}
    if not state["finished"]:
        wanted.add(weights_path(folder, "state", state["epoch"]))
    for path in (Path(folder) / "checkpoints").glob("*.weights.h5"):
        if path not in wanted:
            path.unlink()


def same_as_stored(settings: dict) -> dict:
    """``settings`` as JSON will give them back (tuples become lists, paths texts), so that they compare equal."""
    return json.loads(json.dumps(settings, default=str))
