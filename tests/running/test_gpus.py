import os
import subprocess
import sys
import time

import pytest
from throwaway import write_notebook

from hpa_lib import paths
from hpa_lib.data import parallel
from hpa_lib.running import gpus, plan, runner

HOLD = """
import time
from hpa_lib.running import gpus
with gpus.claimed() as environment:
    print(environment["CUDA_VISIBLE_DEVICES"], flush=True)
    time.sleep(1000)
"""


@pytest.fixture
def private(tmp_path, monkeypatch):
    """A temporary folder of this test alone: other tests hand out the same names."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


@pytest.fixture
def hold(private):
    """A factory: a process that holds a GPU; its first line is the GPU's name, or that it waits."""
    children = []

    def start():
        child = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True, cwd=paths.PROJECT)
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


def test_each_run_gets_a_gpu_and_one_more_waits_until_one_is_free(hold, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0, 3")
    first, second = hold(), hold()
    assert {first.stdout.readline(), second.stdout.readline()} == {"0\n", "3\n"}
    third = hold()
    assert third.stdout.readline() == "all 2 GPUs are in use: waiting for one\n"
    time.sleep(0.5)
    second.kill()
    assert third.stdout.readline() in ("0\n", "3\n")


@pytest.mark.parametrize("visible", ["", "-1", "NoDevFiles"])
def test_without_a_gpu_nothing_is_named(private, monkeypatch, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with gpus.claimed() as environment:
        assert environment == {}
    assert not list(private.glob("hpa-gpus-*"))


def test_gpus_are_those_that_nvidia_smi_lists(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus.list_gpus() == []
    command = tmp_path / "nvidia-smi"
    command.write_text("#!/bin/sh\necho 0\necho 1\n")
    command.chmod(0o755)
    assert gpus.list_gpus() == ["0", "1"]


def test_a_training_step_is_told_its_gpu_and_its_threads(private, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    source = "import os\nfrom hpa_lib.data import parallel\n"
    source += "print(os.environ['CUDA_VISIBLE_DEVICES'], parallel.count_cores())"
    notebook = write_notebook(tmp_path / "02_x.ipynb", source)
    steps = [plan.Step("a", notebook, {}, run="a"), plan.Step("b", notebook, {})]
    monkeypatch.setenv("PYTHONPATH", str(paths.PROJECT))
    runner.run_plan(steps, tmp_path / "out", runner.Options(threads=1))
    assert (tmp_path / "out" / "notebooks" / "a.log").read_text() == "5 1\n"


def test_threads_asked_for_limit_the_processes_too(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = parallel.count_cores()
    for text, number in (("1", 1), ("1000", cores), ("", cores), ("0", cores), ("many", cores)):
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        assert parallel.count_cores() == number
    assert gpus.thread_limits(0) == {} and set(gpus.thread_limits(3).values()) == {"3"}
    assert "OMP_NUM_THREADS" in os.environ
