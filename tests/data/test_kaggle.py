"""Bad input of every kind ends in one clear sentence: what, where, and what to do."""

import zipfile

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa_lib.data import kaggle, png

HEADER = "Id,Target\n"


@pytest.fixture
def csv_path(tmp_path):
    """A function that writes a train.csv (text or bytes) and gives back its path."""

    def write(content):
        path = tmp_path / "train.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


# --- reading the tables -----------------------------------------------------------------------------------------


def test_reads_ids_and_labels_in_the_files_order(csv_path):
    ids, labels = kaggle.read_labels(csv_path(HEADER + "b,16 0\na,27\n"))
    assert ids.tolist() == ["b", "a"]
    assert labels.dtype == np.uint8
    assert [np.flatnonzero(row).tolist() for row in labels] == [[0, 16], [27]]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfId,Target\na,0\nb,1 2\n",
        b"Id,Target\r\na,0\r\nb,1 2\r\n",
        b"Id,Target\ra,0\rb,1 2\r",
        b"Id,Target\n\na,0\n\n,\nb,1 2",
        b"Target,Id\n0,a\n1 2,b\n",
        b"Id,Target,note\na,0,x\nb,1 2,y\n",
        b'"Id","Target"\n"a","0"\n"b","2 1"\n',
        b" Id , Target \na, 0\nb,1  2 \n",
        b"id,TARGET\na,0\nb,1 2\n",
        b"Id;Target\na;0\nb;1 2\n",
        b'\xef\xbb\xbf"target"\t"ID"\r\n0\ta\r\n1 2\tb\r\n',
    ],
    ids=[
        "mark",
        "crlf",
        "cr",
        "blank-lines",
        "swapped",
        "further-column",
        "quoted",
        "blanks",
        "other-case",
        "semicolons",
        "tabs",
    ],
)
def test_harmless_forms_read_alike(csv_path, content):
    ids, labels = kaggle.read_labels(csv_path(content))
    assert ids.tolist() == ["a", "b"]
    assert [np.flatnonzero(row).tolist() for row in labels] == [[0], [1, 2]]


BAD_FILES = {
    "empty": (b"", "is empty: its first line must be Id,Target"),
    "header only": (b"Id,Target\n", "holds no row under its header: download it again"),
    "no target column": (b"Id,Label\na,0\n", "has no column 'Target'"),
    "no id column": (b"Name,Target\na,0\n", "has no column 'Id'"),
    "id column twice": (b"Id,id,Target\na,a,0\n", "has twice column 'Id'"),
    "column twice": (b"Id,Target,Target\na,0,1\n", "has twice column 'Target'"),
    "bars": (b"Id|Target\na|0\n", "has no column 'Id' in its first line 'Id|Target': it must be Id,Target"),
    "utf-16": ("Id,Target\na,0\n".encode("utf-16"), "holds NUL bytes.*save it as CSV in UTF-8"),
    "latin-1": (b"Id,Target\n\xe4,0\n", "is not UTF-8 text at byte 10: save it as CSV in UTF-8"),
    "open quote": (b'Id,Target\na,"0\nb,1\n', "line 3: unexpected end of data: look for a stray quotation mark"),
    "an image": (png.SIGNATURE + b"\0\0\0\rIHDR", "save it as CSV in UTF-8"),
}
BAD_ROWS = {
    "label 28": ("a,0\nb,28\n", r"label '28' in target '28': write class numbers 0\.\.27"),
    "negative label": ("a,0\nb,-1\n", r"label '-1'.*0\.\.27"),
    "fraction": ("a,0\nb,1.0\n", r"label '1\.0'.*0\.\.27"),
    "class name": ("a,0\nb,Cytosol\n", r"label 'Cytosol'.*0\.\.27"),
    "foreign digit": ("a,0\nb,٣\n", r"label '٣'.*0\.\.27"),
    "label twice": ("a,0\nb,3 1 3\n", "label 3 occurs twice.*write each class number once"),
    "empty target": ("a,0\nb,\n", "Id 'b'.: the Target is empty: write its class numbers, or take the row out"),
    "unquoted comma": ("a,0\nb,16,0\n", "has 3 cells where the header has 2: quote a cell that holds a comma"),
    "missing cell": ("a,0\nb\n", "has 1 cells where the header has 2"),
    "no id": ("a,0\n,1\n", "Id ''.: the Id is malformed"),
    "path up": ("a,0\n../../etc/passwd,1\n", r"Id '\.\./\.\./etc/passwd'.: the Id is malformed: use letters"),
    "absolute path": ("a,0\n/etc/passwd,1\n", "Id '/etc/passwd'.: the Id is malformed"),
    "hidden file": ("a,0\n.b,1\n", r"Id '\.b'.: the Id is malformed"),
    "blank in id": ("a,0\nb c,1\n", "Id 'b c'.: the Id is malformed"),
    "blank before id": ("a,0\n b,1\n", "Id ' b'.: the Id is malformed"),
    "windows path": ("a,0\nC:\\b,1\n", "is malformed"),
    "long id": ("a,0\n" + "b" * 300 + ",1\n", "is malformed"),
    "row twice": ("a,0\na,0\n", "Id 'a'.: repeats the Id of an earlier line: keep one of the rows"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_an_unreadable_table_is_refused_in_one_sentence(csv_path, name):
    content, sentence = BAD_FILES[name]
    for on_bad in ("strict", "drop"):
        with pytest.raises(ValueError, match=rf"train\.csv.*{sentence}") as caught:
            kaggle.read_labels(csv_path(content), on_bad)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_is_refused_with_its_line_or_dropped(csv_path, name):
    content, sentence = BAD_ROWS[name]
    path = csv_path(HEADER + content)
    with pytest.raises(ValueError, match=rf"train\.csv line 3.*{sentence}"):
        kaggle.read_labels(path)
    ids, labels = kaggle.read_labels(path, "drop")
    assert ids.tolist() == ["a"]
    assert labels.shape == (1, 28)


def test_an_id_with_two_truths_is_dropped_altogether(csv_path):
    path = csv_path(HEADER + "a,0\nb,1\na,2\n")
    with pytest.raises(
        ValueError, match=r"line 2 \(Id 'a'\): has different Targets on lines 2, 4: find out which is true"
    ):
        kaggle.read_labels(path)
    assert kaggle.read_labels(path, "drop")[0].tolist() == ["b"]


def test_the_same_truth_in_another_order_is_only_a_repeat(csv_path):
    path = csv_path(HEADER + "a,0 16\na,16 0\n")
    with pytest.raises(ValueError, match="line 3 .*: repeats the Id of an earlier line"):
        kaggle.read_labels(path)
    assert kaggle.read_labels(path, "drop")[0].tolist() == ["a"]


def test_a_missing_table_and_a_folder_in_its_place(tmp_path):
    with pytest.raises(ValueError, match=r"train\.csv is not there: point DATA at the folder"):
        kaggle.read_labels(tmp_path / "train.csv")
    (tmp_path / "train.csv").mkdir()
    with pytest.raises(ValueError, match=r"train\.csv cannot be read \(Is a directory\)"):
        kaggle.read_labels(tmp_path / "train.csv")


def test_on_bad_must_be_known(csv_path):
    with pytest.raises(ValueError, match="on_bad 'ignore': use 'strict' or 'drop'"):
        kaggle.read_labels(csv_path(HEADER + "a,0\n"), "ignore")


def test_sample_submission_keeps_its_order_and_ignores_predictions(tmp_path):
    path = tmp_path / "sample_submission.csv"
    path.write_text("Id,Predicted\nz,\na,0 99\n")
    assert kaggle.read_sample_submission(path).tolist() == ["z", "a"]
    path.write_text("Id,Predicted\nz,0\nz,0\n")
    with pytest.raises(ValueError, match=r"sample_submission\.csv line 3 .*: repeats the Id of an earlier line"):
        kaggle.read_sample_submission(path)


def test_groups_follow_the_ids(tmp_path):
    path = tmp_path / "groups.csv"
    path.write_text("Id,group\na,7\nb,8\nc,7\n")
    c, b, a = kaggle.read_groups(path, ["c", "b", "a"])
    assert c == a != b
    with pytest.raises(ValueError, match=r"groups\.csv Id x: has no row: add a row for the image"):
        kaggle.read_groups(path, ["a", "x"])
    path.write_text("Id,group\na,7\na,8\nb,1\n")
    assert kaggle.read_groups(path, ["b"]).tolist() == [0]
    with pytest.raises(ValueError, match="groups.csv Id a: is in two groups"):
        kaggle.read_groups(path, ["a"])


def test_a_blank_group_is_a_group_of_its_own(tmp_path):
    path = tmp_path / "groups.csv"
    path.write_text("Id,group\na,7\nb,\nc, \nd,7\ne,\n")
    groups = kaggle.read_groups(path, list("abcde"))
    assert groups[0] == groups[3]
    assert len(set(groups.tolist())) == 4
    assert len(set(kaggle.read_groups(path, ["b", "c", "e"]).tolist())) == 3


def test_ids_that_look_like_missing_values_stay_texts(tmp_path):
    names = ["NA", "null", "nan", "None"]
    for name, column, text in (("train.csv", "Target", "1"), ("sample_submission.csv", "Predicted", "0")):
        (tmp_path / name).write_text(f"Id,{column}\n" + "".join(f"{image_id},{text}\n" for image_id in names))
    (tmp_path / "groups.csv").write_text("Id,group\nNA,NA\nnull,NA\nnan,None\nNone,\n")
    assert kaggle.read_labels(tmp_path / "train.csv")[0].tolist() == names
    assert kaggle.read_sample_submission(tmp_path / "sample_submission.csv").tolist() == names
    first, second, third, fourth = kaggle.read_groups(tmp_path / "groups.csv", names)
    assert first == second and len({first, third, fourth}) == 3


def test_thousands_of_repeated_ids_are_told_in_short_sentences(csv_path):
    """Text that grew with the square of the rows took 92 MB for 4,000 rows."""
    rows = "".join(f"a,{number % 28}\n" for number in range(4000))
    _, findings = kaggle.scan(csv_path(HEADER + rows), "train")
    assert len(findings) == 4000
    assert max(len(finding.problem) for finding in findings) < 100
    assert findings[0].problem == "has different Targets on lines 2, 3, 4 and 3,997 more"


@pytest.mark.parametrize("name", ["train.csv.zip", "train.csv"])
def test_a_table_in_a_zip_is_read(tmp_path, name):
    with zipfile.ZipFile(tmp_path / name, "w") as opened:
        opened.writestr("some/train.csv", "Id,Target\na,3\n")
        opened.writestr("__MACOSX/some/._train.csv", "x")
    assert kaggle.read_labels(tmp_path / "train.csv")[0].tolist() == ["a"]
    with zipfile.ZipFile(tmp_path / name, "w") as opened:
        opened.writestr("[Content_Types].xml", "")
    with pytest.raises(ValueError, match=r"train\.csv is a zip archive or a spreadsheet without one CSV file in it"):
        kaggle.read_labels(tmp_path / "train.csv")


def test_a_table_wins_over_its_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "train.csv.zip", "w") as opened:
        opened.writestr("train.csv", "Id,Target\na,3\n")
    (tmp_path / "train.csv").write_text("Id,Target\nb,3\n")
    assert kaggle.read_labels(tmp_path / "train.csv")[0].tolist() == ["b"]


def test_a_table_that_is_a_link_to_nothing_says_so(tmp_path):
    (tmp_path / "train.csv").symlink_to(tmp_path / "annex")
    with pytest.raises(ValueError, match=r"train\.csv is a link whose target is missing: fetch the file"):
        kaggle.read_labels(tmp_path / "train.csv")


def test_channel_modes_that_need_a_missing_channel_are_refused():
    for channels in ("rgb", "rgby", "rgb_merge"):
        kaggle.check_channels({"channels_missing": []}, channels)
        kaggle.check_channels({}, channels)
    kaggle.check_channels({"channels_missing": ["yellow"]}, "rgb")
    for channels in ("rgby", "rgb_merge"):
        with pytest.raises(ValueError, match=f"CHANNELS = '{channels}' uses yellow.*set CHANNELS = 'rgb'"):
            kaggle.check_channels({"channels_missing": ["yellow"]}, channels)


label_sets = st.lists(st.integers(0, 27), min_size=1, max_size=28, unique=True)
good_ids = st.from_regex(kaggle.GOOD_ID, fullmatch=True)


@settings(max_examples=200, deadline=None)
@given(
    table=st.dictionaries(good_ids, label_sets, min_size=1, max_size=20),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    mark=st.booleans(),
    quote=st.booleans(),
)
def test_property_what_is_written_is_read(tmp_path_factory, table, newline, mark, quote):
    path = tmp_path_factory.mktemp("csv") / "train.csv"
    rows = [["Id", "Target"], *([image_id, " ".join(map(str, target))] for image_id, target in table.items())]
    cells = [[f'"{cell}"' if quote else cell for cell in row] for row in rows]
    text = newline.join(",".join(row) for row in cells)
    path.write_bytes(text.encode("utf-8-sig" if mark else "utf-8"))
    ids, labels = kaggle.read_labels(path)
    assert ids.tolist() == list(table)
    assert [set(np.flatnonzero(row)) for row in labels] == [set(target) for target in table.values()]


fragments = st.sampled_from(
    ["Id", "Target", ",", "\n", "\r\n", '"', " ", "0", "16 0", "27", "28", "a", "../b", "\0", "é", ";"]
)
any_table = st.one_of(
    st.binary(max_size=200), st.lists(fragments, max_size=60).map(lambda parts: "".join(parts).encode())
)


@settings(max_examples=400, deadline=None)
@given(content=st.one_of(any_table, any_table.map(lambda rest: b"Id,Target\n" + rest)))
def test_property_any_bytes_are_read_or_refused_in_one_sentence(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("csv") / "train.csv"
    path.write_bytes(content)
    for on_bad in ("strict", "drop"):
        try:
            ids, labels = kaggle.read_labels(path, on_bad)
        except ValueError as error:
            assert str(path) in str(error)
            continue
        assert labels.shape == (len(ids), 28)
        assert len(set(ids)) == len(ids)
        assert all(kaggle.GOOD_ID.fullmatch(image_id) for image_id in ids)
        assert labels.any(axis=1).all()


def test_fingerprint_sees_content_not_dates(tiny_dataset):
    first, second = tiny_dataset("one"), tiny_dataset("two")
    assert kaggle.fingerprint(first) == kaggle.fingerprint(second)
    (second / "train.csv").write_text((second / "train.csv").read_text() + "x,1\n")
    assert kaggle.fingerprint(first) != kaggle.fingerprint(second)


@pytest.mark.parametrize("part", ["train", "test"])
def test_fingerprint_sees_each_images_name_and_length(tiny_dataset, part):
    data = tiny_dataset()
    before = kaggle.fingerprint(data)
    file = next((data / part).glob("*_red.png"))
    content = file.read_bytes()
    file.write_bytes(content + b"x")
    assert kaggle.fingerprint(data) != before
    file.unlink()
    assert kaggle.fingerprint(data) != before
    file.with_name("other_red.png").write_bytes(content)
    assert kaggle.fingerprint(data) != before
    file.with_name("other_red.png").rename(file)
    assert kaggle.fingerprint(data) == before
    (data / "groups.csv").write_text("Id,group\n")
    assert kaggle.fingerprint(data) != before


# --- real files -------------------------------------------------------------------------------------------------


def test_the_real_label_table(real_samples):
    ids, labels = kaggle.read_labels(real_samples / "train.csv")
    assert labels.shape == (31072, 28)
    assert (labels[:, 0].sum(), labels[:, 27].sum()) == (12885, 11)
    assert len(kaggle.read_sample_submission(real_samples / "sample_submission.csv")) == 11702


def test_the_real_pngs_are_plain_and_decode_as_opencv_does(real_samples):
    paths = sorted(real_samples.glob("*/*.png"))
    assert len(paths) >= 40
    for path in paths:
        assert png.is_plain(png.read_header(path.read_bytes()))
        np.testing.assert_array_equal(png.decode(path.read_bytes()), cv2.imread(str(path), cv2.IMREAD_UNCHANGED))


def test_yellow_is_absent_only_where_no_part_has_it(tiny_dataset):
    data = tiny_dataset()
    (data / "test" / "test-0001_yellow.png").unlink()
    for path in (data / "test").glob("*_yellow.png"):
        path.unlink()
    assert kaggle.list_absent_channels(data) == []  # the test images are incomplete, the data set is not without
    for path in (data / "train").glob("*_yellow.png"):
        path.unlink()
    assert kaggle.list_absent_channels(data) == ["yellow"]


def test_data_that_has_changed_since_notebook_00_is_refused(tiny_dataset):
    data = tiny_dataset()
    description = {"data_hash": kaggle.fingerprint(data)}
    kaggle.check_unchanged(data, description)
    with pytest.raises(ValueError, match=r"the data folder .*moved is not there: set DATA to where it is now"):
        kaggle.check_unchanged(data / "moved", description)
    with open(data / "sample_submission.csv", "a", encoding="utf-8") as table:
        table.write("another,0\n")
    with pytest.raises(ValueError, match="has changed since notebook 00 read it: run 00_data.ipynb again"):
        kaggle.check_unchanged(data, description)


def test_without_a_table_of_groups_each_image_is_its_own(tmp_path):
    assert kaggle.read_groups(tmp_path / "groups.csv", ["b", "a"]).tolist() == [0, 1]


def test_a_long_list_is_shortened_to_three():
    assert kaggle.shorten([1, 2, 3]) == "1, 2, 3" and kaggle.shorten([1, 2, 3, 4]) == "1, 2, 3 and 1 more"


def test_a_link_that_leads_nowhere_has_no_length(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "b.png").write_bytes(b"123")
    assert kaggle.list_files(tmp_path) == {"a.png": -1, "b.png": 3}
