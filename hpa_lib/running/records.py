"""``notebooks/<step>.json``: what a step did the last time that it was run, and how long it should take."""

import platform
from collections.abc import Sequence
from pathlib import Path

from hpa_lib import provenance, store
from hpa_lib.running import files, plan


def load(out: Path, step: str) -> dict | None:
    """The record of a step, or None where it has not run.

    A damaged file is set aside: the step's results are not lost, only what it said.
    """
    path = Path(out) / "notebooks" / f"{step}.json"
    if not path.exists():
        return None
    try:
        record = store.load_json(path.parent, path.name)
        if {"step", "status", "parameters"} <= record.keys():
            return record
    except ValueError:
        pass
    aside = path.rename(path.with_name(f"{path.name}.damaged-{provenance.now().replace(':', '')}"))
    print(f"{path} is damaged: it is kept as {aside.name}, and a new record begins", flush=True)
    return None


def begin(out: Path, step: plan.Step, profile: str) -> dict:
    """The record of a step that starts now, stored as ``running``: a killed process leaves it so."""
    record = {"step": step.name, "notebook": step.notebook.name, "run": step.run, "status": "running"}
    record |= {"profile": profile, "started": provenance.now(), "finished": None, "host": platform.node()}
    record |= {"seconds": None, "peak_memory_mb": None, "error": None, "parameters": files.in_force(step)}
    record |= {"code": files.code_digest(step.notebook), "inputs": files.digest_inputs(out, step)}
    record |= {"trained_on": files.trained_on(out, step)}
    return save(out, record | {"versions": provenance.versions()})


def save(out: Path, record: dict) -> dict:
    """Store a record, and give it back."""
    store.save_json(out, f"notebooks/{record['step']}.json", record)
    return record


def error_of(record: dict) -> dict:
    """Name, message and cell of what stopped a step; a process that was killed could not store them."""
    return record["error"] or {"name": "Interrupted", "message": "its process was killed", "cell": None}


def expected_seconds(out: Path, steps: Sequence[plan.Step]) -> list[float | None]:
    """Per step, the seconds that it took with the same parameters on this machine; None where that is not known."""
    found = [load(out, step.name) for step in steps]
    return [
        record["seconds"]
        if record
        and (record["status"], record.get("host")) == ("done", platform.node())
        and record["parameters"] == files.in_force(step)
        else None
        for step, record in zip(steps, found, strict=True)
    ]
