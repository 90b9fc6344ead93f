import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
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
USER, DEVELOPER, WORKFLOW = "requirements.lock", "requirements-dev.lock", "workflow/requirements.lock"
SYSTEMS = {  # what a marker can ask for on each supported system
    "Linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
    "macOS": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
    "Windows": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
}


def read_project():
    return tomllib.loads((paths.PROJECT / "pyproject.toml").read_text())["project"]


def read_lines(lock):
    """The lines of a lock, each with its hashes."""
    text = (paths.PROJECT / lock).read_text().replace("\\\n", "")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def read_versions(*locks, environment=None):
    """Package -> version of all lines whose marker holds in ``environment``; by default on this machine."""
    found = [Requirement(line.partition(" --hash=")[0]) for lock in locks for line in read_lines(lock)]
    held = [requirement for requirement in found if not requirement.marker or requirement.marker.evaluate(environment)]
    return {canonicalize_name(requirement.name): str(requirement.specifier).removeprefix("==") for requirement in held}


@pytest.fixture(scope="module")
def locked():
    return read_versions(USER, DEVELOPER)


def unmet(requirements, versions, environment):
    """The requirements that hold in ``environment``, but that no locked version meets."""
    wanted = [requirement for requirement in map(Requirement, requirements) if requirement.name != "hpa-kit"]
    held = [each for each in wanted if not each.marker or each.marker.evaluate(environment)]
    found = [(each, versions.get(canonicalize_name(each.name))) for each in held]
    return [str(each) for each, version in found if not version or not each.specifier.contains(version, True)]


@pytest.mark.parametrize("lock", [USER, DEVELOPER, WORKFLOW])
def test_locks_hold_names_exact_versions_and_hashes_only(lock):
    line_of_lock = re.compile(r"[\w.-]+==[\w.]+( ; [^;#]+?)?( +--hash=sha256:[0-9a-f]{64})+ *")
    assert [line for line in read_lines(lock) if not line_of_lock.fullmatch(line)] == []
    assert "//" not in (paths.PROJECT / lock).read_text()


def test_no_package_is_locked_twice():
    """What both additional locks need and the first does not is in both, in one version with the same files."""
    lines = {lock: dict(line.split("==", 1) for line in read_lines(lock)) for lock in (USER, DEVELOPER, WORKFLOW)}
    assert all(len(lines[lock]) == len(read_lines(lock)) for lock in lines)
    assert not set(lines[USER]) & (set(lines[DEVELOPER]) | set(lines[WORKFLOW]))
    for name in set(lines[DEVELOPER]) & set(lines[WORKFLOW]):
        version, *hashes = re.findall(r"^[\w.]+|--hash=\S+", lines[DEVELOPER][name])
        assert [version, *hashes] == re.findall(r"^[\w.]+|--hash=\S+", lines[WORKFLOW][name])


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("beside, extra", [(None, None), (DEVELOPER, "test"), (WORKFLOW, "workflow")])
def test_locks_are_complete_without_dependencies_being_resolved(beside, extra, system, python):
    """All that pyproject and each locked package ask for is locked: opencv-python is replaced by its headless twin.

    Read from the packages installed here; of those that only other systems need, the resolver read it.
    """
    environment = SYSTEMS[system] | {"python_version": python, "python_full_version": f"{python}.5", "extra": ""}
    locks = [USER, beside] if beside else [USER]
    here, there = read_versions(*locks), read_versions(*locks, environment=environment)
    project = read_project()
    wanted = project["dependencies"] + project["optional-dependencies"].get(extra, [])
    missing = {"pyproject": unmet(wanted, there, environment)}
    for name in set(here) & set(there):
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            assert beside == WORKFLOW, f"{name} is not installed here: run make test"
            continue  # make grid installs it
        if distribution.version != here[name]:
            pytest.skip(f"{name} is installed in another version than the lock's: run make test")
        missing[name] = unmet(distribution.requires or [], there, environment)
    assert {name: lines for name, lines in missing.items() if lines} == {"imgaug": ["opencv-python"]}


def read_imports(*folders):
    """Top-level names of the other packages that the Python files and notebooks of ``folders`` import."""
    sources = [path.read_text() for folder in folders for path in (paths.PROJECT / folder).rglob("*.py")]
    for path in [path for folder in folders for path in (paths.PROJECT / folder).glob("*.ipynb")]:
        cells = json.loads(path.read_text())["cells"]
        sources += ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"hpa_lib", "hpa_synth"}


def test_dependencies_are_what_is_imported():
    """Each dependency is imported or has its reason here, and each import is declared."""
    not_imported = {
        "jupyterlab": "make lab starts it",
        "ipykernel": "the kernel that papermill and JupyterLab start",
        "scikit-image": "imgaug needs it, in a version for NumPy 2",
        "jinja2": "pandas writes LaTeX and captions with it",
    }
    optional = {"jax"}  # the second backend, imported where it is in force
    distributions = importlib.metadata.packages_distributions()
    imports = read_imports("hpa_lib", "hpa_synth", "notebooks", "exercises") - optional
    imported = {canonicalize_name(distributions[name][0]) for name in imports}
    declared = {canonicalize_name(Requirement(text).name) for text in read_project()["dependencies"]}
    assert imported | set(not_imported) == declared
    assert not imported & set(not_imported)


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
    assert ["demo", "the whole study on the synthetic default data, ten minutes on two idle cores"] in rows


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
    assert pip[-1] == "-e ."
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


@pytest.mark.parametrize(
    "target, locks",
    [
        ("install", [USER]),
        ("demo", [USER]),
        ("bench", [USER, DEVELOPER]),
        ("test", [USER, DEVELOPER]),
        ("grid", [USER, WORKFLOW]),
    ]
    + [("workflow", [USER, DEVELOPER, WORKFLOW])],
)
def test_a_target_installs_its_locks_and_nothing_again_unless_one_changed(tmp_path, target, locks):
    (tmp_path / ".venv").mkdir()
    (tmp_path / "workflow").mkdir()
    for name in ("Makefile", "pyproject.toml", USER, DEVELOPER, WORKFLOW):
        (tmp_path / name).write_bytes((paths.PROJECT / name).read_bytes())
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}

    def plan():
        command = ["make", "--dry-run", target]
        text = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, env=clean).stdout
        return re.findall(r"pip .*--require-hashes --no-deps -r (\S+)", text)

    assert plan() == locks
    for stamp in ("installed", "installed-dev", "installed-workflow"):
        (tmp_path / ".venv" / stamp).touch()
    assert plan() == []
    later = (tmp_path / ".venv" / "installed-workflow").stat().st_mtime + 10
    os.utime(tmp_path / locks[-1], (later, later))
    assert plan() == [locks[-1]]


def test_hooks_have_the_locks_versions(locked):
    hooks = yaml.safe_load((paths.PROJECT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    wanted = {text for hook in hooks for text in hook["additional_dependencies"]}
    assert wanted == {f"{name}=={locked[name]}" for name in ("ruff", "nbstripout")}


def test_the_weekly_workflow_calls_the_ci_script():
    text = (paths.PROJECT / ".github" / "workflows" / "weekly.yml").read_text()
    workflow = yaml.safe_load(text)
    assert set(workflow[True]) == {"schedule", "workflow_dispatch"}  # YAML reads "on" as true
    (job,) = workflow["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.13"]
    assert job["steps"][-1]["run"] == "bash .ci/run"
    assert text.startswith("# Untested")


def test_ci_script_is_sound_bash():
    for name in ("run", "lock"):
        text = (paths.PROJECT / ".ci" / name).read_text()
        assert "set -euo pipefail" in text
        subprocess.run(["bash", "-n", str(paths.PROJECT / ".ci" / name)], check=True)
