"""What a result was made with, on every system."""

import os
import subprocess
import sys
import types

from hpa_lib import provenance


def test_versions_name_the_code_and_its_commit():
    found = provenance.versions()
    assert {"hpa-kit", "keras", "numpy", "commit"} <= set(found) and found["commit"]


def test_peak_memory_is_in_megabytes_on_every_system(monkeypatch):
    assert 50 < provenance.peak_memory_mb() < 50_000
    usage = types.SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda _: types.SimpleNamespace(ru_maxrss=3 * 2**30))
    monkeypatch.setitem(sys.modules, "resource", usage)
    for system, expected in (("darwin", 3 * 2**10), ("linux", 3 * 2**20)):  # bytes there, KiB here
        monkeypatch.setattr("sys.platform", system)
        assert provenance.peak_memory_mb() == expected
    monkeypatch.setitem(sys.modules, "resource", None)  # Windows: an import raises
    assert provenance.peak_memory_mb() is None


def test_a_slow_git_does_not_stop_a_training(monkeypatch):
    def hang(*_, **options):
        raise subprocess.TimeoutExpired("git", options.get("timeout", 1))

    monkeypatch.setattr("subprocess.run", hang)
    assert provenance.versions()["commit"] == "unknown"


def test_a_git_that_does_not_answer_gives_no_commit(monkeypatch):
    def hang(*_, **options):
        raise subprocess.TimeoutExpired("git", options["timeout"])

    monkeypatch.setattr("subprocess.run", hang)
    assert provenance.commit() is None
    monkeypatch.setattr("subprocess.run", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError("git")))
    assert provenance.commit() is None


def test_the_memory_of_another_process_is_told_on_linux_alone():
    found = provenance.peak_memory_mb_of(os.getpid())
    assert found is None if sys.platform != "linux" else abs(found - provenance.peak_memory_mb()) < 50
    assert provenance.peak_memory_mb_of(2**30) is None
