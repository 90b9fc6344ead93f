"""``run.json``: what the steps of a run set did, each the last time that it was run, and how long they should take."""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from hpa_lib import provenance, store
from hpa_lib.running import plan


def earlier_steps(out: Path) -> list[dict]:
    """The entries of the steps in ``out/run.json``.

    A damaged file is set aside: its steps' results are not lost, only what it said.
    """
    path = out / "run.json"
    if not path.exists():
        return []
    try:
        steps = store.load_json(out, "run.json")["steps"]
        if all({"step", "status"} <= entry.keys() for entry in steps):
            return steps
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    aside = path.rename(path.with_name(f"run.json.damaged-{provenance.now().replace(':', '')}"))
    print(f"{path} is damaged: it is kept as {aside.name}, and a new record begins", flush=True)
    return []


def begin(steps: list[plan.Step], earlier: list[dict], profile: str) -> dict:
    """The record of a run that starts now: ``steps`` wait, and what earlier runs' other steps did is kept."""
    waiting = [
        {"step": step.name, "notebook": step.notebook.name, "parameters": step.parameters, "status": "waiting"}
        for step in steps
    ]
    names = {step.name for step in steps}
    kept = [entry for entry in earlier if entry["step"] not in names]
    for entry in kept:
        if entry["status"] in ("running", "waiting"):  # the earlier run was killed before it could write the end
            entry["status"] = "interrupted" if entry["status"] == "running" else "never run"
    return {
        "status": "running",
        "profile": profile,
        "started": provenance.now(),
        "finished": None,
        "last_step": None,
        "versions": provenance.versions(),
        "steps": kept + waiting,
    }


def expected_seconds(steps: Sequence[plan.Step], earlier: Sequence[Mapping]) -> list[float | None]:
    """Per step, the seconds it took with the same parameters on this machine, by ``earlier`` entries; else None."""
    done = [entry for entry in earlier if (entry["status"], entry.get("host")) == ("done", platform.node())]
    seconds = {(entry["step"], str(entry["parameters"])): entry["seconds"] for entry in done}
    return [seconds.get((step.name, str(step.parameters))) for step in steps]
