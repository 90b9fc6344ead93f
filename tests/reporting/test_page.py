"""The HTML page: tables and texts are escaped, figures are inside."""

import base64

import pandas as pd
import pytest

from hpa_lib import store
from hpa_lib.reporting import page


def test_the_page_holds_tables_and_escapes_texts(tmp_path):
    table = pd.DataFrame({"class": ["Rods & rings"], "F1": [0.25]})
    path = page.write_html(tmp_path, "A <title>", [("One", "a < b", [table])], synthetic=True)
    text = path.read_text()
    assert path == tmp_path / "report.html"
    assert "Rods &amp; rings" in text and "0.250" in text and "a &lt; b" in text and "SYNTHETIC DATA" in text
    path = page.write_html(tmp_path, "Real", [("One", "", [table])], synthetic=False)
    assert "SYNTHETIC" not in path.read_text()


def test_figures_are_inside_the_page_and_a_missing_one_names_its_notebook(tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "report_curves.png").write_bytes(b"picture")
    path = page.write_html(tmp_path, "t", [("One", "", ["report_curves"])], synthetic=False)
    assert f'src="data:image/png;base64,{base64.b64encode(b"picture").decode()}"' in path.read_text()
    with pytest.raises(store.MissingInput, match=r"ensemble_scores.png is not there: run 06_ensemble.ipynb"):
        page.write_html(tmp_path, "t", [("One", "", ["ensemble_scores"])], synthetic=False)
