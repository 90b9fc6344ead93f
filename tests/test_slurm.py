"""The grid of tests/test_workflow.py through a real one-node SLURM, which this test installs, starts and stops."""

import os
import re
import shutil
import subprocess

import pytest
import yaml
from test_workflow import ALL, finish, start
from throwaway_study import write_grid, write_study

from hpa_lib import paths

pytestmark = pytest.mark.slurm
SCRIPT = paths.PROJECT / "tests" / "one_node_slurm.sh"
RESULTS = ("data/split.csv", "decisions/thresholds.json", "decisions/ensemble.json", "report.html")
TRAINING = {"mem_mb": "900 * attempt", "runtime": "30 * attempt", "gpu": 0}  # the one node has no GPU
PROFILE = {
    "executor": "slurm",
    "jobs": 4,
    "latency-wait": 30,
    "slurm-status-command": "squeue",  # there is no accounting
    "slurm-init-seconds-before-status-checks": 1,
    "seconds-between-status-checks": 2,
    "default-resources": {"slurm_partition": "main", "slurm_account": "none", "mem_mb": "600 * attempt", "runtime": 20},
    "set-threads": dict.fromkeys(["data", "eda", "train_densenet", "train_resnet18"], 1),
    "set-resources": {"train_densenet": TRAINING, "train_resnet18": TRAINING, "eda": {"mem_mb": 700}},
}


@pytest.fixture
def slurm(tmp_path):
    """A running one-node SLURM."""
    is_possible = shutil.which("slurmctld") or shutil.which("apt-get")
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or not is_possible:
        pytest.skip("SLURM's daemons need root, and Debian's packages to be installed or apt-get")
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="Snakemake's SLURM plugin is missing: make slurm")
    started = subprocess.run(["bash", SCRIPT, "start", tmp_path / "slurm"], timeout=900)
    if started.returncode == 3:
        pytest.skip("Debian's packages of SLURM cannot be installed here")
    assert started.returncode == 0
    yield
    subprocess.run(["bash", SCRIPT, "stop", tmp_path / "slurm"], check=True)


def submitted_jobs():
    """Rule -> what SLURM knows of its jobs: a dictionary of ``scontrol``'s words each."""
    text = subprocess.run(["scontrol", "show", "job", "--oneliner"], capture_output=True, text=True, check=True).stdout
    jobs = {}
    for line in text.splitlines():
        words = dict(re.findall(r"(\S+?)=(\S*)", line))
        jobs.setdefault(re.match(r"(rule_)?([a-z_0-9]+?)(_wildcards_.*)?$", words["Comment"])[2], []).append(words)
    return jobs


def test_every_job_of_a_grid_goes_through_slurm(tmp_path, slurm):
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "config.yaml").write_text(yaml.safe_dump(PROFILE))
    grid = write_study(tmp_path)
    code, jobs, text = finish(start(grid, "--executor", "slurm", "--profile", tmp_path / "profile"))
    assert (code, jobs) == (0, ALL), text
    submitted = submitted_jobs()
    assert {rule: len(found) for rule, found in submitted.items()} == ALL
    assert {words["JobState"] for found in submitted.values() for words in found} == {"COMPLETED"}
    for rule, memory, minutes, threads in (("train_densenet", 900, 30, 1), ("eda", 700, 20, 1), ("report", 600, 20, 2)):
        words = submitted[rule][0]
        asked = (words["Partition"], words["MinMemoryNode"], words["TimeLimit"], words["NumCPUs"])
        assert asked == ("main", f"{memory}M", f"00:{minutes}:00", str(threads)), rule
    assert finish(start(grid, "--executor", "slurm", "--profile", tmp_path / "profile", "--dry-run"))[1] == {}
    local = write_grid(tmp_path, out="local")
    assert finish(start(local))[0] == 0
    for name in RESULTS:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "local" / name).read_bytes(), name


def test_the_profile_of_the_project_asks_for_gpus_partitions_memory_and_time(tmp_path):
    """What would be submitted, by a dry run: the one node has no GPU."""
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="Snakemake's SLURM plugin is missing: make slurm")
    code, jobs, text = finish(start(write_study(tmp_path), "--executor", "slurm", "--dry-run"))
    assert (code, jobs) == (0, ALL), text
    blocks = re.findall(r"^rule (\w+):\n((?: .*\n)+)", text, re.MULTILINE)
    asked = {rule: set(re.split(r",? +|\n", block)) for rule, block in blocks}
    for rule in ("train_densenet", "train_resnet18"):
        assert {"gpu=1", "slurm_partition=gpu", "mem_mb=16000", "runtime=480"} <= asked[rule]
    assert {"slurm_partition=main", "mem_mb=4000", "runtime=60"} <= asked["report"] and "gpu=1" not in asked["report"]
