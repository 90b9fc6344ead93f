"""The page: escaped, numbered, readable alone; the same as Markdown, CSV and LaTeX; each item traced to its files."""

import base64
import hashlib
import json
import re

import pandas as pd
import pytest

from hpa_lib import store
from hpa_lib.reporting import page

TABLE = pd.DataFrame({"class": ["Rods & rings", "a|b_c"], "F1": [0.25, None], "images": [11, 12885]})
CLAIM = pd.DataFrame({"claim": ["Class weights raise F1 < on the CNN by 50 % or more"], "gain": [-12.345]})


def write(out, *sections, stamps=("SYNTHETIC DATA: drawn <cells>.",), title="A <title>"):
    return page.write(out, title, stamps, [page.Section(*section) for section in sections], {"seed": 0})


@pytest.fixture
def out(tmp_path):
    """A run set with one figure, its PDF and its numbers, and a run's record."""
    (tmp_path / "figures").mkdir()
    for suffix in ("png", "pdf", "csv"):
        (tmp_path / f"figures/report_curves.{suffix}").write_bytes(suffix.encode())
    store.save_json(tmp_path, "runs/resnet18-none/result.json", {"seed": 1})
    items = [page.Item("report_f1", "Scores, 95 % interval of a_b.", ["runs/resnet18-none/result.json"], TABLE)]
    items.append(page.Item("report_curves", 'Curves of "F1".', ["runs/resnet18-none/result.json"]))
    claims = page.Item("report_claims", "The claims.", [], CLAIM)
    write(tmp_path, ("Experiment A: networks", "a < b", items), ("Conclusion", "The end.", [claims]))
    return tmp_path


def test_texts_are_escaped_and_every_section_is_in_the_contents(out):
    text = (out / "report.html").read_text()
    assert '<p class="stamp">SYNTHETIC DATA: drawn &lt;cells&gt;.</p>' in text
    assert "A &lt;title&gt;" in text and "a &lt; b" in text and "Rods &amp; rings" in text
    for anchor, heading in (("experiment-a-networks", "Experiment A: networks"), ("conclusion", "Conclusion")):
        assert f'<a href="#{anchor}">{heading}</a>' in text and f'<section id="{anchor}">' in text


def test_the_page_needs_no_other_file_and_says_its_language(out):
    text = (out / "report.html").read_text()
    assert '<html lang="en">' in text and 'name="viewport"' in text and "<script" not in text
    assert set(re.findall(r'(?:src|href)="([^#"]{1,5})', text)) == {"data:"}
    assert f'src="data:image/png;base64,{base64.b64encode(b"png").decode()}"' in text
    assert 'alt="Curves of &quot;F1&quot;."' in text


def test_tables_and_figures_are_numbered_through(out):
    text = (out / "report.html").read_text()
    captions = re.findall(r"<figcaption><b>(.+?)</b>", text)
    assert captions == ["Table 1.", "Figure 1.", "Table 2."]
    assert '<td class="number">0.250</td>' in text and '<td class="number">12,885</td>' in text
    assert '<td class="number">-12.3</td>' in text and '<td class="long">Class weights' in text


def test_what_is_not_there_is_left_out_with_one_sentence(tmp_path):
    items = [page.Item("architecture_x", "The network.", []), page.Item("report_none", "Twins.", [], TABLE.head(0))]
    items.append(page.Item("report_f1", "Scores.", [], TABLE))
    text = write(tmp_path, ("Models", "Here.", items)).read_text()
    made_by = "made by 02_train_densenet.ipynb (or 03, 04)"
    assert f"Here. Not in this run set: The network ({made_by}); Twins (no such runs).</p>" in text
    assert "<b>Table 1.</b> Scores." in text and not (tmp_path / "report/tables/report_none.csv").exists()


def test_the_folder_holds_the_same_as_markdown_csv_and_latex(out):
    text = (out / "report/report.md").read_text()
    assert "# A <title>\n\n- SYNTHETIC DATA" in text and "## Conclusion" in text
    assert (
        "| class | F1 | images |\n| --- | ---: | ---: |\n| Rods & rings | 0.250 | 11 |\n| a\\|b_c |  | 12,885 |" in text
    )
    assert (out / "report" / re.search(r"!\[Figure 1\]\((.+?)\)", text)[1]).read_bytes() == b"png"
    assert (out / "report/figures/report_curves.pdf").read_bytes() == b"pdf"
    for folder in ("tables", "report/tables"):
        pd.testing.assert_frame_equal(store.load_table(out, f"{folder}/report_f1.csv"), TABLE)
    latex = (out / "report/tables/report_f1.tex").read_text()
    assert r"\toprule" in latex and r"\begin{tabular}{lrr}" in latex and r"Rods \& rings & 0.250 & 11 \\" in latex
    assert r"a|b\_c" in latex and r"\caption{Scores, 95 \% interval of a\_b.}" in latex
    assert r"\begin{tabular}{p{4cm}r}" in (out / "report/tables/report_claims.tex").read_text()


def test_the_manifest_traces_every_item_to_files_and_runs(out):
    manifest = json.loads((out / "report/manifest.json").read_text())
    assert manifest["seed"] == 0
    table, figure, claims = manifest["items"]
    digest = hashlib.sha256((out / "runs/resnet18-none/result.json").read_bytes()).hexdigest()
    assert table["made_from"] == {"runs/resnet18-none/result.json": digest} and table["runs"] == ["resnet18-none"]
    assert (table["label"], table["name"], table["made_by"]) == ("Table 1", "report_f1", "07_report.ipynb")
    assert figure["made_from"]["figures/report_curves.png"] == hashlib.sha256(b"png").hexdigest()
    assert claims["runs"] == [] and claims["made_from"] == {}
