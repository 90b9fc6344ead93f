import importlib.metadata
import os
import re
import subprocess
import tomllib

import pandas as pd
import pytest
import yaml
from fake_runs import write_out
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import hpa_lib
from hpa_lib import paths

LIBRARY = paths.PROJECT / "hpa_lib"
NINE = ["jupyterlab", "papermill", "tensorflow", "imgaug", "numpy", "pandas", "matplotlib", "seaborn", "scikit-learn"]
PYTHONS = ("3.11", "3.12", "3.13")
SYSTEMS = {  # what a marker can ask for on each supported system
    "Linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
    "macOS": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
    "Windows": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
}


def read_project():
    return tomllib.loads((paths.PROJECT / "pyproject.toml").read_text())["project"]


def read_lock():
    lines = (paths.PROJECT / "requirements.lock").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def read_locked(environment=None):
    """Package -> version of all lines of the lock whose marker holds in ``environment``; by default on this machine."""
    found = [Requirement(line) for line in read_lock()]
    held = [requirement for requirement in found if not requirement.marker or requirement.marker.evaluate(environment)]
    return {canonicalize_name(requirement.name): str(requirement.specifier).removeprefix("==") for requirement in held}


@pytest.fixture(scope="module")
def locked():
    return read_locked()


def test_lock_holds_names_and_exact_versions_only():
    line_of_lock = re.compile(r'[\w.-]+==[\w.]+(; sys_platform == "(darwin|win32)")?')
    assert [line for line in read_lock() if not line_of_lock.fullmatch(line)] == []
    assert "//" not in (paths.PROJECT / "requirements.lock").read_text()


def test_lock_covers_pyproject(locked):
    project = read_project()
    for text in project["dependencies"] + project["optional-dependencies"]["test"]:
        requirement = Requirement(text)
        version = locked.get(canonicalize_name(requirement.name))
        assert version and requirement.specifier.contains(version), f"{text}: {version} in the lock, run make lock"


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_lock_is_complete_without_dependencies_being_resolved(locked, system, python):
    """Every requirement of every locked package is locked: opencv-python alone is replaced by its headless twin.

    Read from the packages installed here; those that other systems need besides have no requirements of their own.
    """
    environment = SYSTEMS[system] | {"python_version": python, "python_full_version": f"{python}.5", "extra": ""}
    there, missing = read_locked(environment), []
    for name in set(locked) & set(there) - {"pip"}:
        if importlib.metadata.version(name) != locked[name]:
            pytest.skip(f"{name} is installed in another version than the lock's: run make test")
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate(environment):
                continue
            version = there.get(canonicalize_name(requirement.name))
            if not version or not requirement.specifier.contains(version, prereleases=True):
                missing.append(f"{name} asks for {text}, locked is {version}")
    assert missing == ["imgaug asks for opencv-python, locked is None"]


def test_snakemakes_lock_fits_beside_the_first(locked):
    """Names and exact versions, none of them twice; with the first lock complete and all that the extra asks for."""
    lines = (paths.PROJECT / "workflow" / "requirements.lock").read_text().splitlines()
    lines = [line for line in lines if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    more = {canonicalize_name(line.partition("==")[0]): line.partition("==")[2] for line in lines}
    assert not set(more) & set(locked)
    wanted = list(read_project()["optional-dependencies"]["workflow"])
    for name in more:
        try:
            wanted += importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # not installed here: make grid
    for requirement in map(Requirement, wanted):
        if not requirement.marker or requirement.marker.evaluate({"extra": ""}):
            version = (locked | more).get(canonicalize_name(requirement.name))
            assert version and requirement.specifier.contains(version), f"{requirement}: {version} in the locks"


def test_supported_systems_are_stated():
    assert all(system in hpa_lib.__doc__ for system in SYSTEMS)


def read_readme():
    return (paths.PROJECT / "README.md").read_text(encoding="utf-8")


def test_readmes_map_names_every_entry_of_the_library():
    (block,) = re.findall(r"^hpa_lib/\n((?:  .+\n)+)", read_readme(), re.MULTILINE)
    named = [line.split()[0].removesuffix("/") for line in block.splitlines()]
    assert sorted(named) == sorted(path.name for path in LIBRARY.iterdir() if path.name != "__pycache__")


def test_the_librarys_map_names_every_file():
    named = re.findall(r"^    ([a-z_0-9/]+) {2,}\S", hpa_lib.__doc__, re.MULTILINE)
    files = {path.relative_to(LIBRARY).with_suffix("").as_posix() for path in LIBRARY.rglob("*.py")}
    assert sorted(named) == sorted(name for name in files if not name.endswith("__init__"))


def test_readmes_links_lead_somewhere():
    text = read_readme()
    headings = {re.sub(r"[^\w -]", "", line).replace(" ", "-").lower() for line in re.findall(r"^#+ (.+)", text, re.M)}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert target[1:] in headings if target[0] == "#" else (paths.PROJECT / target).exists(), target


def test_readmes_example_runs_as_printed(tmp_path, monkeypatch, capsys):
    """On a made-up run set of the name that the example uses."""
    (code,) = re.findall(r"```python\n(.*?thresholds\.tune.*?)```", read_readme(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    write_out(tmp_path / "outputs" / "demo", tmp_path / "data", {"resnet18-rgby-study": 1.5}, num_images=400)
    exec(compile(code, "README.md", "exec"), {})
    assert 0 < float(capsys.readouterr().out) < 1


def test_readmes_table_is_the_reference_runs():
    table = pd.read_csv(paths.PROJECT / "outputs" / "reference" / "summary.csv")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in read_readme().splitlines() if line[:2] == "| "]
    shown = {row[0]: row[1:] for row in rows if len(row) == 3}
    for name, *scores in table.itertuples(index=False):
        assert shown[name] == ["" if pd.isna(score) else f"{score:.3f}" for score in scores], name


def test_help_is_listed_by_any_sed():
    """BSD's sed, which macOS has, knows no ``\\t``."""
    makefile = (paths.PROJECT / "Makefile").read_text()
    assert not [line for line in makefile.splitlines() if "sed " in line and r"\t" in line]
    done = subprocess.run(["make", "help"], cwd=paths.PROJECT, capture_output=True, text=True, check=True)
    rows = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert ["demo", "the whole study on the synthetic default data, eleven minutes on two idle cores"] in rows


@pytest.mark.parametrize("python", ["3.11.2", "3.12.0", "3.13.0"])
def test_locked_versions_take_early_pythons(locked, python):
    """Debian 12 has 3.11.2; a locked version that refuses it could not be installed there."""
    wanted = {name: importlib.metadata.metadata(name).get("Requires-Python") for name in locked}
    assert [name for name, text in wanted.items() if text and not SpecifierSet(text).contains(python)] == []


def test_lock_needs_no_display_and_no_torch(locked):
    assert "opencv-python-headless" in locked
    assert not {"opencv-python", "opencv-contrib-python", "torch", "hpa-kit"} & set(locked)


def test_cv2_loads_no_display_library():
    import cv2

    assert "GUI:                           NONE" in cv2.getBuildInformation()


def test_environment_is_in_step_with_pyproject():
    environment = yaml.safe_load((paths.PROJECT / "environment.yml").read_text())
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    assert "python=3.11" in conda and "pip" in conda
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert pip[-1] == "-e .[test]"
    ours = {Requirement(text).name: Requirement(text) for text in read_project()["dependencies"]}
    named = {Requirement(text).name: Requirement(text) for text in pip[:-1]}
    assert set(NINE) <= set(named)
    for name in set(named) & set(ours):
        assert named[name].specifier == ours[name].specifier, f"{name} differs between environment.yml and pyproject"
    assert set(named) - set(ours) == {"opencv-python"}


def test_pythons_are_the_makefiles():
    assert read_project()["requires-python"] == ">=3.11,<3.14"
    assert "((3, 11), (3, 12), (3, 13))" in (paths.PROJECT / "Makefile").read_text()


def test_another_python_is_refused_in_one_sentence(tmp_path):
    """A Python that is of another version, but would make an environment, stops make before anything is installed."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        (tmp_path / name).write_bytes((paths.PROJECT / name).read_bytes())
    other = tmp_path / "python3.9"
    other.write_text("#!/bin/sh\n[ $1 = -c ] && exit 1\nmkdir .venv\n")
    other.chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(["make", "test", f"PYTHON={other}"], cwd=tmp_path, capture_output=True, text=True, env=clean)
    assert done.returncode == 2 and not (tmp_path / ".venv").exists()
    assert done.stderr.splitlines()[0].startswith(f"Python 3.11, 3.12 or 3.13 is needed (found: {other})")


def test_nothing_is_installed_again_unless_the_lock_or_pyproject_changed(tmp_path):
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        (tmp_path / name).write_bytes((paths.PROJECT / name).read_bytes())
    (tmp_path / ".venv").mkdir()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}

    def plan():
        command = ["make", "--dry-run", "test"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, env=clean).stdout

    assert "pip" in plan()
    (tmp_path / ".venv" / "installed").touch()
    assert "pip" not in plan() and "pytest" in plan()
    later = (tmp_path / ".venv" / "installed").stat().st_mtime + 10
    os.utime(tmp_path / "requirements.lock", (later, later))
    assert "pip" in plan()


def test_ci_script_is_sound_bash():
    for name in ("run", "lock"):
        text = (paths.PROJECT / ".ci" / name).read_text()
        assert "set -euo pipefail" in text
        subprocess.run(["bash", "-n", str(paths.PROJECT / ".ci" / name)], check=True)
