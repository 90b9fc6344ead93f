"""A person opens a notebook in JupyterLab and chooses "Run All Cells", or the report: in a real Chromium.

Each test leaves a picture of what that person sees in ``outputs/browser/``.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import fake_runs
import nbformat
import pandas as pd
import pytest

import hpa_synth
from hpa_lib import atlas, paths, store
from hpa_lib.data import cache, kaggle, splits
from hpa_lib.decisions import metrics, thresholds
from hpa_lib.reporting import board, explore, report
from hpa_lib.running import exercises
from hpa_lib.training import runs

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium")
PICTURES = paths.PROJECT / "outputs" / "browser"
LONGEST = 300  # seconds one notebook may take


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab on a fresh data set and an empty run set."""
    folder = tmp_path_factory.mktemp("lab")
    data = hpa_synth.write_dataset(folder / "data", images=150, workers=2, progress=False)
    with start_lab(folder, {"HPA_DATA": str(data), "HPA_OUT": str(folder / "out")}) as found:
        yield found


@contextlib.contextmanager
def start_lab(folder, variables):
    """JupyterLab with its own settings on ``folder/notebooks``, by default a copy: its address and that folder."""
    if not (folder / "notebooks").exists():
        shutil.copytree(paths.PROJECT / "notebooks", folder / "notebooks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "share", "JUPYTER_RUNTIME_DIR": "runtime"}
    environment = os.environ | {name: str(folder / place) for name, place in places.items()}
    environment |= variables
    options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", "--IdentityProvider.token=tests"]
    options += ["--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    with open(folder / "lab.log", "w") as log:
        command = [sys.executable, "-m", "jupyterlab", *options]
        server = subprocess.Popen(command, cwd=folder / "notebooks", env=environment, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for_server(f"{address}/api?token=tests", server, folder / "lab.log")
        yield address, folder / "notebooks"
    finally:
        server.terminate()
        server.wait(timeout=60)


def wait_for_server(address, server, log):
    for _ in range(120):
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return json.load(answer)
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        pytest.skip("no chromium here: make browser installs it")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, request):
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(60_000)
    yield page
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{request.node.name}.png")  # also of what a failed test saw
    page.close()


def run_all(page, address, name):
    """Open the notebook and choose Run > Run All Cells, as a person does."""
    page.goto(f"{address}/lab/tree/{name}.ipynb?token=tests&reset")
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
    wait_for_kernel(page, address, name)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name=re.compile("^Run All Cells$")).click()


def wait_for_kernel(page, address, name):
    """Before its kernel has answered once, JupyterLab passes over every cell in silence."""
    for _ in range(120):
        with urllib.request.urlopen(f"{address}/api/sessions?token=tests", timeout=10) as answer:
            kernels = [session["kernel"] for session in json.load(answer) if session["path"] == f"{name}.ipynb"]
        if any(kernel["execution_state"] == "idle" and kernel["connections"] for kernel in kernels):
            break
        page.wait_for_timeout(500)
    page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for()
    page.wait_for_timeout(1000)


def wait_until_all_ran(page, path):
    """The saved notebook, once each of its code cells was run or one has failed."""
    for _ in range(LONGEST):
        page.keyboard.press("Control+s")
        page.wait_for_timeout(1000)
        try:
            notebook = nbformat.read(path, as_version=4)
        except nbformat.reader.NotJSONError:  # JupyterLab is writing it
            continue
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        failed = any(output.output_type == "error" for cell in cells for output in cell.outputs)
        if failed or all(cell.execution_count for cell in cells):
            return cells
    waiting = [cell.id for cell in cells if not cell.execution_count]
    raise AssertionError(f"after {LONGEST} s these cells have not run: {waiting}")


def scroll_to_figure(page):
    """Turn the wheel over the notebook until a figure is on the screen."""
    page.mouse.move(700, 500)
    for _ in range(80):
        figures = page.locator(".jp-OutputArea img")
        if any(figures.nth(index).is_visible() for index in range(figures.count())):
            figures.first.scroll_into_view_if_needed()
            return
        page.mouse.wheel(0, 400)
        page.wait_for_timeout(150)
    raise AssertionError("no figure came into view")


@pytest.mark.parametrize("name", sorted(path.stem for path in (paths.PROJECT / "notebooks").glob("*.ipynb")))
def test_run_all(page, lab, name):
    """In order: each notebook reads what those before it stored."""
    address, folder = lab
    run_all(page, address, name)
    cells = wait_until_all_ran(page, folder / f"{name}.ipynb")
    outputs = [output for cell in cells for output in cell.outputs]
    errors = [f"{output.ename}: {output.evalue}" for output in outputs if output.output_type == "error"]
    assert errors == []
    assert any("image/png" in output.get("data", {}) for output in outputs)
    page.keyboard.press("Control+Home")
    scroll_to_figure(page)


@pytest.fixture(scope="module")
def exercise_lab(tmp_path_factory):
    """JupyterLab on the copies of the exercises and the runs that come with the project."""
    folder = tmp_path_factory.mktemp("exercises")
    exercises.write_copies(folder / "notebooks")
    with start_lab(folder, {"HPA_OUT": str(store.REFERENCE)}) as found:
        yield found


@pytest.mark.parametrize("kind", exercises.KINDS)
def test_exercises_without_and_with_their_solutions(page, exercise_lab, kind):
    """The student's copy stops at its first task and says so; in the solved one every check says "correct"."""
    address, folder = exercise_lab
    run_all(page, address, f"{kind}/05_threshold_tuning")
    cells = wait_until_all_ran(page, folder / f"{kind}/05_threshold_tuning.ipynb")
    outputs = {cell.id: cell.outputs for cell in cells if cell.outputs}
    checks = [name for name in outputs if name.startswith("check-")]
    if kind == "student":
        (error,) = outputs["sort-and-cut"]
        assert error.ename == "NotImplementedError" and error.evalue.startswith("not done yet") and checks == []
    else:
        assert len(checks) == 2 and all(outputs[name][0].text.startswith("correct") for name in checks)


@pytest.fixture(scope="module")
def explorer_lab(tmp_path_factory):
    """JupyterLab on a run set with one small trained network, its images and its embeddings; and the run set."""
    folder = tmp_path_factory.mktemp("explorer")
    out, data = folder / "out", hpa_synth.write_dataset(folder / "data", images=150, workers=2, progress=False)
    ids, labels = kaggle.read_labels(data / "train.csv")
    folds = splits.make_folds(labels, kaggle.read_groups(data / "groups.csv", ids), 3, 0)
    store.save_split(out, ids, labels, folds, folds - 1)
    cache.build(data, ids, "train", 64, out / "cache", workers=2, progress=False)
    description = {"path": str(data), "synthetic": True, "test_images": 0, "data_hash": kaggle.fingerprint(data)}
    store.save_json(out, "data/dataset.json", description)
    run = runs.train("densenet", out=out, image_size=64, epochs=2, batch_size=16)["run"]
    for part in ("val", "holdout"):  # spread over 0..1, so that a step of the slider moves an image
        ids, probs = store.load_probs(out, run, part)
        store.save_probs(out, run, part, ids, probs.argsort(axis=0).argsort(axis=0) / len(ids))
    with start_lab(folder, {"HPA_DATA": str(data), "HPA_OUT": str(out)}) as (address, notebooks):
        yield address, notebooks, out


def scroll_to(page, place):
    """Turn the wheel over the notebook until the element is on the screen."""
    page.mouse.move(700, 500)
    for _ in range(200):
        if page.locator(place).count():
            return page.locator(place).first.scroll_into_view_if_needed()
        page.mouse.wheel(0, 400)
        page.wait_for_timeout(100)
    raise AssertionError(f"{place} did not come into view")


def read_picture(page, place):
    """What the picture shows, as a text."""
    draw = "image => { const canvas = document.createElement('canvas'); canvas.width = image.naturalWidth; "
    draw += "canvas.height = image.naturalHeight; canvas.getContext('2d').drawImage(image, 0, 0); "
    return page.locator(place).first.evaluate(draw + "return canvas.toDataURL(); }")


def wait_for_change(page, place, before):
    for _ in range(100):
        page.wait_for_timeout(100)
        if (after := read_picture(page, place)) != before:
            return after
    raise AssertionError(f"{place} did not change")


def read_numbers(page):
    return re.findall(r"\d\.\d{3}", page.locator(".hpa-numbers").inner_text())


def test_the_explorer_answers(page, explorer_lab):
    """The threshold moves the scores, a channel the picture, a choice the list; the network says where it looks."""
    address, folder, out = explorer_lab
    page.set_viewport_size({"width": 1400, "height": 1900})
    run_all(page, address, "08_explore")
    cells = wait_until_all_ran(page, folder / "08_explore.ipynb")
    outputs = [output for cell in cells for output in cell.outputs]
    assert [output.evalue for output in outputs if output.output_type == "error"] == []
    scroll_to(page, ".hpa-explorer")
    found = explore.load(out)
    part, label = explore.judged_part(found), int(found.labels[found.parts == "holdout"].sum(axis=0).argmax())

    page.locator(".hpa-class select").select_option(label=atlas.LABELS[label])
    page.locator(".hpa-error select").select_option(label="missed")
    page.wait_for_timeout(3000)
    before = read_numbers(page)
    page.locator(".hpa-threshold .noUi-handle").focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    page.wait_for_timeout(3000)
    changed = found.thresholds.copy()
    changed[label] = float(page.locator(".hpa-threshold .widget-readout").inner_text())
    assert changed[label] == pytest.approx(0.6, abs=0.006)
    inside = found.parts == part
    preds = thresholds.apply(found.probs[inside], changed, found.fill_empty)
    row = metrics.class_table(found.labels[inside], preds).loc[label]
    scores = [row["precision"], row["recall"], row["f1"], metrics.macro_f1(found.labels[inside], preds)]
    assert read_numbers(page) == [f"{score:.3f}" for score in scores] != before

    missed = explore.select(explore.with_threshold(found, label, changed[label]), part, label, "missed")
    buttons = [text for text in page.locator(".hpa-id:visible").all_inner_texts() if text]
    assert buttons == found.ids[missed][:24].tolist() != []
    page.locator(".hpa-error select").select_option(label="all")
    page.wait_for_timeout(3000)

    before = read_picture(page, ".hpa-picture"), read_picture(page, ".hpa-thumbnail")
    page.locator(".hpa-channel-green input").click()
    without_green = wait_for_change(page, ".hpa-picture", before[0])
    wait_for_change(page, ".hpa-thumbnail", before[1])
    page.locator(".hpa-channel-green input").click()
    assert wait_for_change(page, ".hpa-picture", without_green) == before[0]

    page.locator(".hpa-ask").click()
    page.get_by_text(f"Grad-CAM for {atlas.LABELS[label]}").wait_for()
    page.locator(".hpa-heat:visible").wait_for()
    for place in (".hpa-bars", ".hpa-curve", ".hpa-picture"):  # whole, not squeezed
        assert min(page.locator(place).bounding_box()[side] for side in ("width", "height")) > 250
    assert len(read_picture(page, ".hpa-heat")) > 1000
    page.locator(".hpa-explorer").scroll_into_view_if_needed()


@pytest.fixture(scope="module")
def report_page(tmp_path_factory):
    """The report of made-up results, as notebook 07 writes it."""
    folder = tmp_path_factory.mktemp("report")
    fake_runs.write_out(folder / "out", folder / "data", num_images=600)
    fake_runs.complete(folder / "out")
    scores = dict.fromkeys(["macro_f1", "low", "high", "gain", "gain_low", "gain_high"], 0.1)
    row = {"name": "union of two", "kind": "label sets", "best_single": "resnet18-rgby-none"} | scores
    store.save_table(folder / "out", "tables/ensemble.csv", pd.DataFrame([row]))
    return report.write(folder / "out", bootstrap=50)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_report_is_readable_alone(page, report_page, width):
    """No message, no request but for the page itself, nothing wider than the screen; also on paper."""
    messages, requests = [], []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(report_page.as_uri())
    assert messages == [] and {url for url in requests if not url.startswith("data:")} == {report_page.as_uri()}
    too_wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not page.evaluate(too_wide)
    links = page.locator("nav a")
    assert links.count() == len(report.SECTIONS)
    for index in range(links.count()):
        links.nth(index).click()
        assert page.locator(page.evaluate("location.hash")).bounding_box()["y"] < 900
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 680, "height": 900})  # A4 less its margins
    assert not page.evaluate(too_wide)
    page.emulate_media(media="screen")
    page.set_viewport_size({"width": width, "height": 2400})
    page.evaluate("scrollTo(0, 0)")


@pytest.mark.parametrize("width", [1280, 400])
def test_the_final_board_fits_the_screen(page, tmp_path, width):
    """Team, score and notes are in sight without scrolling sideways; a narrow screen shows no interval."""
    names = ["strong: classical-logistic-balanced, tuned thresholds", "a_team_whose_name_is_as_long_as_a_file's_may_be"]
    row = {"rank": 1, "band": 1, "team": names, "kind": "team", "macro_f1": 0.5, "low": 0.4, "high": 0.6}
    row |= {"public_macro_f1": 0.5, "public_rank": 1, "notes": "33 rows without any label: every image has one"}
    refused = pd.DataFrame({"team": names, "reason": "label '28' in target '28': write class numbers 0..27"})
    page.set_viewport_size({"width": width, "height": 1000})
    page.goto(board.write(tmp_path, pd.DataFrame(row), refused, ["Macro F1"]).as_uri())
    assert page.evaluate("[...document.querySelectorAll('.scroll')].every(box => box.scrollWidth <= box.clientWidth)")
    assert page.get_by_role("columnheader", name="from").is_visible() == (width == 1280)
    assert page.get_by_role("columnheader", name="macro F1").is_visible()
    cell = page.locator("#ranking td:nth-child(3)").first
    assert cell.inner_text().split("\n")[-1].endswith("every image has one")
