"""All that can be wrong with a data folder: one sentence each, and what is left of the folder."""

import re
import shlex
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hpa_lib import __main__, atlas, paths, store
from hpa_lib.data import cache, checks, image_files, kaggle, layout, png
from hpa_lib.decisions import submission

HEADER = "Id,Target\n"


def channel(data, image_id="train-0001", color="green", part="train"):
    return data / part / f"{image_id}_{color}.png"


def one_finding(data, severity="error"):
    """The single finding of a folder, after checking that it is told in full."""
    findings = checks.check(data, progress=False)
    assert list(findings.columns) == list(kaggle.Finding._fields)
    assert len(findings) == 1, findings.to_string()
    finding = findings.iloc[0]
    assert finding["severity"] == severity
    assert finding["file"] and finding["problem"] and finding["remedy"]
    return finding


def test_a_good_folder_has_no_findings(tiny_dataset):
    data = tiny_dataset(groups=True)
    findings = checks.check(data, progress=False)
    assert findings.empty
    assert list(findings.columns) == list(kaggle.Finding._fields)
    ids, labels, test_ids = checks.select(data, findings)
    assert (len(ids), labels.shape, len(test_ids)) == (6, (6, 28), 3)


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def as_16_bit(path):
    pixels = cv2.imread(str(path), 0).astype(np.uint16) * 257
    assert cv2.imwrite(str(path), pixels)


def as_12_bit_in_16(path):
    assert cv2.imwrite(str(path), cv2.imread(str(path), 0).astype(np.uint16) * 16)


def as_grey_rgb(path):
    assert cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_COLOR))


def as_painted_rgba(path):
    grey = cv2.imread(str(path), 0)
    planes = [np.zeros_like(grey), grey, np.zeros_like(grey), np.full_like(grey, 255)]
    assert cv2.imwrite(str(path), cv2.merge(planes))


def as_photo(path):
    assert cv2.imwrite(str(path), np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8))


def as_transparent(path):
    grey = cv2.imread(str(path), 0)
    assert cv2.imwrite(str(path), cv2.merge([grey, grey, grey, grey]))


def white(path):
    assert cv2.imwrite(str(path), np.full((32, 32), 255, np.uint8))


def blank(path):
    assert cv2.imwrite(str(path), np.zeros((32, 32), np.uint8))


def smaller(path):
    assert cv2.imwrite(str(path), cv2.imread(str(path), 0)[:16, :16])


def oblong(path):
    assert cv2.imwrite(str(path), cv2.imread(str(path), 0)[:16])


def huge_header(path):
    content = bytearray(path.read_bytes())
    content[16:20] = (10**6).to_bytes(4, "big")
    content[29:33] = png.zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(bytes(content))


def broken_stream(path):
    """Checksums are right, but the compressed pixels are nonsense."""
    content = path.read_bytes()
    start = content.index(b"IDAT")
    length = int.from_bytes(content[start - 4 : start], "big")
    chunk = b"IDAT" + b"\xff" * length
    path.write_bytes(content[:start] + chunk + png.zlib.crc32(chunk).to_bytes(4, "big") + content[start + 8 + length :])


def link_to_nothing(path):
    path.unlink()
    path.symlink_to(path.parent / ".git" / "annex" / path.name)


def link_to_itself(path):
    path.unlink()
    path.symlink_to(path)


BAD_IMAGES = {
    "missing": (lambda path: path.unlink(), "green missing"),
    "empty": (lambda path: path.write_bytes(b""), r"is empty \(0 bytes\)"),
    "text": (lambda path: path.write_text("<html>404</html>"), "is not a PNG"),
    "jpeg": (lambda path: path.write_bytes(cv2.imencode(".jpg", np.eye(32, dtype=np.uint8))[1].tobytes()), "not a PNG"),
    "signature only": (lambda path: path.write_bytes(png.SIGNATURE), "is cut off after 8 bytes"),
    "truncated": (cut, "is cut off after"),
    "flipped bit": (flip_a_bit, "wrong checksum in chunk"),
    "huge": (huge_header, "claims 1000000 x 32 pixels"),
    "12-bit in 16": (as_12_bit_in_16, "is 16-bit but its brightest pixel is"),
    "colour photo": (as_photo, "planes hold different pictures"),
    "transparent": (as_transparent, "has transparent pixels"),
    "blank green": (blank, r"is blank \(all pixels 0\)"),
    "white green": (white, r"is blank \(all pixels 255\)"),
    "channel smaller": (smaller, r"not one square size in its four channels \(16 x 16, 32 x 32 pixels\)"),
    "channel oblong": (oblong, "not one square size"),
    "copied channel": (
        lambda path: path.write_bytes(path.with_name("train-0001_red.png").read_bytes()),
        "green is the same file as red",
    ),
    "broken stream": (broken_stream, "cannot be decoded although its checksums are right"),
    "link to nothing": (link_to_nothing, "is a link whose target is missing"),
    "link to itself": (link_to_itself, "cannot be read .Too many levels"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "Is a directory"),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_an_unusable_image_stops_or_is_dropped_and_recorded(tiny_dataset, name):
    spoil, problem = BAD_IMAGES[name]
    data = tiny_dataset()
    spoil(channel(data))
    finding = one_finding(data)
    assert pd.Series([finding["problem"]]).str.contains(problem).all(), finding["problem"]
    assert finding["file"].startswith("train/train-0001_")
    findings = checks.check(data, progress=False)
    with pytest.raises(ValueError, match=f"train-0001.*: .*{problem}.*: ") as caught:
        checks.select(data, findings, "strict")
    assert "\n" not in str(caught.value)
    ids, labels, test_ids = checks.select(data, findings, "drop")
    assert "train-0001" not in ids
    assert (len(ids), len(labels), len(test_ids)) == (5, 5, 3)
    assert checks.dropped_ids(findings, "drop") == {"train": ["train-0001"], "test": []}


GOOD_CONVERSIONS = {
    "16-bit": (as_16_bit, "is 16-bit grey, converted to 8-bit grey"),
    "grey RGB": (as_grey_rgb, "is 8-bit RGB, converted"),
    "one painted plane": (as_painted_rgba, "is 8-bit RGB with alpha, converted"),
}


@pytest.mark.parametrize("name", GOOD_CONVERSIONS)
def test_a_sound_conversion_is_noted_and_gives_the_same_pixels(tiny_dataset, name):
    convert, problem = GOOD_CONVERSIONS[name]
    data = tiny_dataset()
    before = png.decode(channel(data).read_bytes())
    convert(channel(data))
    assert one_finding(data, "note")["problem"].startswith(problem)
    np.testing.assert_array_equal(png.decode(channel(data).read_bytes()), before)
    assert len(checks.select(data, checks.check(data, progress=False))[0]) == 6


def test_a_blank_landmark_channel_is_only_noted(tiny_dataset):
    data = tiny_dataset()
    blank(channel(data, color="yellow"))
    assert "is blank" in one_finding(data, "note")["problem"]


def test_a_whole_image_of_another_size_is_noted(tiny_dataset):
    data = tiny_dataset()
    for color in atlas.CHANNELS:
        smaller(channel(data, color=color))
    problem = "1 images are not 32 x 32 pixels as most are, but 1 of 16 x 16 (train-0001)"
    assert one_finding(data, "note")["problem"] == problem


def test_an_image_without_any_file_is_one_finding(tiny_dataset):
    data = tiny_dataset()
    for color in atlas.CHANNELS:
        channel(data, "test-0000", color, "test").unlink()
    assert one_finding(data)["problem"] == "none of the four channel files is there"
    _, _, test_ids = checks.select(data, checks.check(data, progress=False), "drop")
    assert test_ids.tolist() == ["test-0001", "test-0002"]


def test_stray_files_are_noted_hidden_ones_are_not(tiny_dataset):
    data = tiny_dataset()
    (data / "train" / "Thumbs.db").write_bytes(b"x")
    (data / "train" / "._train-0001_green.png").write_bytes(b"x")
    assert one_finding(data, "note")["problem"] == "1 files belong to no good row of train.csv: Thumbs.db"


def test_no_images_at_all_stops_with_one_finding(tiny_dataset):
    data = tiny_dataset(images=3, test_images=0)
    for path in (data / "train").iterdir():
        path.unlink()
    (data / "sample_submission.csv").unlink()
    findings = checks.check(data, progress=False)
    assert findings["severity"].tolist() == ["note", "stop"]
    for on_bad in ("strict", "drop"):
        with pytest.raises(
            ValueError,
            match=r"train/: none of its 3 images is there \(train-0000_green\.png and so on\): unpack the archive",
        ):
            checks.select(data, findings, on_bad)


def test_train_and_test_may_not_share_an_id(tiny_dataset):
    data = tiny_dataset()
    with open(data / "train.csv", "a", encoding="utf-8") as file:
        file.write("test-0001,5\n")
    for color in atlas.CHANNELS:
        channel(data, "test-0001", color).write_bytes(channel(data, "test-0001", color, "test").read_bytes())
    finding = one_finding(data)
    assert (finding["file"], finding["problem"]) == ("train.csv Id test-0001", "is in sample_submission.csv too")
    ids, _, test_ids = checks.select(data, checks.check(data, progress=False), "drop")
    assert "test-0001" not in ids
    assert "test-0001" in test_ids


def test_an_unsorted_sample_submission_is_noted_and_keeps_its_order(tiny_dataset):
    data = tiny_dataset()
    (data / "sample_submission.csv").write_text("Id,Predicted\ntest-0002,0\ntest-0000,0\ntest-0001,0\n")
    assert one_finding(data, "note")["problem"] == "is not sorted by Id"
    test_ids = checks.select(data, checks.check(data, progress=False))[2]
    assert test_ids.tolist() == ["test-0002", "test-0000", "test-0001"]


def test_without_sample_submission_training_still_works(tiny_dataset):
    data = tiny_dataset(test_images=0)
    (data / "sample_submission.csv").unlink()
    assert one_finding(data, "note")["remedy"] == "training works; no submission can be made"
    assert len(checks.select(data, checks.check(data, progress=False))[2]) == 0


def test_marks_of_the_table_are_noted(tiny_dataset):
    data = tiny_dataset()
    text = (data / "train.csv").read_text()
    (data / "train.csv").write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    findings = checks.check(data, progress=False)
    assert findings["problem"].tolist() == ["begins with a byte-order mark", "has CRLF line ends"]
    assert set(findings["severity"]) == {"note"}


def test_an_unreadable_table_is_a_finding_that_stops(tiny_dataset):
    data = tiny_dataset()
    (data / "train.csv").write_bytes(b"\xff\xfe\xfa")
    finding = one_finding(data, "stop")
    assert (finding["file"], finding["remedy"]) == ("train.csv", "save it as CSV in UTF-8")
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        checks.select(data, checks.check(data, progress=False), "drop")


def test_a_missing_folder_is_a_finding(tmp_path):
    findings = checks.check(tmp_path / "nowhere", progress=False)
    assert findings["severity"].tolist() == ["stop", "note"]
    assert findings["problem"].iloc[0] == "is not there"


def test_hpa_check_exits_0_1_and_1(tiny_dataset, capsys):
    data = tiny_dataset()
    assert __main__.main(["check", str(data)]) == 0
    as_16_bit(channel(data))
    assert __main__.main(["check", str(data)]) == 0
    assert __main__.main(["check", str(data), "--strict"]) == 1
    cut(channel(data, color="red"))
    assert __main__.main(["check", str(data)]) == 1
    assert "train-0001_red.png: is cut off after" in capsys.readouterr().out


def test_all_findings_come_at_once(tiny_dataset):
    data = tiny_dataset()
    with open(data / "train.csv", "a", encoding="utf-8") as file:
        file.write("train-0000,99\n../x,0\n")
    cut(channel(data, "train-0002", "red"))
    channel(data, "test-0001", "blue", "test").unlink()
    findings = checks.check(data, progress=False)
    assert findings["severity"].tolist() == ["error"] * 4 + ["note", "error"]  # both rows of train-0000, then its files
    with pytest.raises(ValueError, match="4 more findings"):
        checks.select(data, findings)
    ids, _, test_ids = checks.select(data, findings, "drop")
    assert ids.tolist() == ["train-0001", "train-0003", "train-0004", "train-0005"]
    assert test_ids.tolist() == ["test-0000", "test-0002"]


def test_nothing_left_after_dropping_is_said(tiny_dataset):
    data = tiny_dataset(images=1)
    cut(channel(data, "train-0000"))
    with pytest.raises(ValueError, match="none of its 1 labelled images can be used"):
        checks.select(data, checks.check(data, progress=False), "drop")


# --- check and cache agree ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*BAD_IMAGES, *GOOD_CONVERSIONS, "nothing"])
@pytest.mark.parametrize("size", [16, 32, 64])
def test_check_and_cache_agree_on_every_image(tiny_dataset, tmp_path, name, size):
    """What check passes for a size is cached at that size, and what it finds stops the cache with its sentence."""
    spoil = {**BAD_IMAGES, **GOOD_CONVERSIONS, "nothing": (lambda path: None, "")}[name][0]
    data = tiny_dataset(images=2, test_images=0)
    spoil(channel(data))
    findings = checks.check(data, size=size, progress=False)
    errors = findings[findings["severity"] == "error"]
    for image_id in ("train-0000", "train-0001"):
        sentences = [
            kaggle.make_sentence(data, error) for _, error in errors.iterrows() if image_id in error["drop_id"]
        ]
        if not sentences:
            assert cache.read_image(data, "train", image_id, size).shape == (size, size, 4)
            continue
        with pytest.raises(ValueError) as caught:
            cache.read_image(data, "train", image_id, size)
        assert str(caught.value) == sentences[0]


def test_images_smaller_than_the_size_are_one_error(tiny_dataset, capsys):
    data = tiny_dataset()
    assert checks.check(data, size=32, progress=False).empty
    assert not checks.check(data, size=33, progress=False).empty
    findings = checks.check(data, size=64, progress=False)
    assert findings["severity"].tolist() == ["error"] * 4
    assert findings["problem"].iloc[0] == "32 x 32 pixels, less than the size 64"
    assert findings["remedy"].iloc[0] == "use IMAGE_SIZE = 32 (to predict: a run of that size), or go on without it"
    assert __main__.main(["check", str(data), "--size", "64"]) == 1
    assert "less than the size 64" in capsys.readouterr().out


def test_a_quick_check_reads_headers_only(tiny_dataset, monkeypatch, capsys):
    data = tiny_dataset()
    monkeypatch.setattr(png, "decode", lambda *_: pytest.fail("decoded"))
    assert checks.check(data, quick=True, progress=False).empty
    cut(channel(data))
    assert checks.check(data, quick=True, progress=False).empty
    smaller_header = channel(data, color="red")
    monkeypatch.undo()
    smaller(smaller_header)
    assert "not one square size" in checks.check(data, quick=True, progress=False)["problem"].iloc[0]
    assert __main__.main(["check", str(data), "--quick"]) == 1
    assert "cut off" not in capsys.readouterr().out


def test_several_processes_find_the_same(tiny_dataset, monkeypatch):
    data = tiny_dataset(images=9)
    cut(channel(data))
    smaller(channel(data, "train-0007"))
    alone = checks.check(data, progress=False)
    assert len(alone) == 2
    monkeypatch.setattr(checks, "WORTH_A_PROCESS", 2)
    monkeypatch.setattr(checks, "CHUNK", 2)
    monkeypatch.setattr(checks.image_files, "inspect_image", lambda *_: pytest.fail("looked at in this process"))
    pd.testing.assert_frame_equal(checks.check(data, workers=2, progress=False), alone)


def test_a_large_blank_file_is_found(tiny_dataset):
    """Blank is a matter of the pixels: not of the length, which a comment in the file makes as long as a picture."""
    data = tiny_dataset()
    content = cv2.imencode(".png", np.zeros((32, 32), np.uint8))[1].tobytes()
    note = b"tEXt" + b"Comment\0" + b"x" * 5000
    chunk = (len(note) - 4).to_bytes(4, "big") + note + png.zlib.crc32(note).to_bytes(4, "big")
    channel(data).write_bytes(content[:33] + chunk + content[33:])
    assert one_finding(data)["problem"] == "is blank (all pixels 0)"


# --- groups.csv ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, severity, problem",
    [
        ("Id;group\n", "note", "has semicolons between its cells"),
        ("Id,protein\ntrain-0000,1\n", "stop", "has no column 'group'"),
        ("a link", "stop", "is a link whose target is missing"),
        ("{rest}train-0001,8\ntrain-0001,9\n", "error", "is in two groups"),
        ("{rest}", "error", "has no row"),
        ("{rest}train-0001,\n", "note", "the group is blank for train-0001"),
        ("{rest}train-0001,1,2\n", "error", "has 3 cells"),
    ],
)
def test_the_table_of_groups_is_checked(tiny_dataset, text, severity, problem):
    data = tiny_dataset()
    rest = "Id,group\n" + "".join(f"train-{number:04d},0\n" for number in (0, 2, 3, 4, 5))
    if text == "a link":
        (data / "groups.csv").symlink_to(data / "annex")
    else:
        (data / "groups.csv").write_text(text.format(rest=rest))
    findings = checks.check(data, progress=False)
    assert findings["severity"].iloc[0] == severity and problem in findings["problem"].iloc[0]
    assert findings["file"].iloc[0].startswith("groups.csv")
    if "{rest}" not in text:
        return
    ids = checks.select(data, findings, "drop")[0]
    assert len(kaggle.read_groups(data / "groups.csv", ids)) == len(ids) == (6 if severity == "note" else 5)


# --- what is missing as a whole -----------------------------------------------------------------------------------


@pytest.mark.parametrize("remove", ["table", "rows", "folder", "files"])
def test_images_for_training_only_are_no_error(tiny_dataset, remove):
    data = tiny_dataset()
    if remove == "table":
        (data / "sample_submission.csv").unlink()
    elif remove == "rows":
        (data / "sample_submission.csv").write_text("Id,Predicted\n")
    else:
        for path in (data / "test").iterdir():
            path.unlink()
    if remove == "folder":
        (data / "test").rmdir()
    assert one_finding(data, "note")["remedy"] == "training works; no submission can be made"
    for on_bad in ("strict", "drop"):
        ids, _, test_ids = checks.select(data, checks.check(data, progress=False), on_bad)
        assert (len(ids), len(test_ids)) == (6, 0)


def test_a_data_set_without_yellow_can_be_used(tiny_dataset, tmp_path):
    data = tiny_dataset()
    assert kaggle.list_absent_channels(data) == []
    for path in [*data.glob("*/*_yellow.png")]:
        path.unlink()
    finding = one_finding(data, "note")
    assert finding["problem"] == "no yellow files"
    assert "'rgb' works, 'rgby' and 'rgb_merge' need these files" in finding["remedy"]
    absent = kaggle.list_absent_channels(data)
    ids, _, test_ids = checks.select(data, checks.check(data, progress=False))
    for part, part_ids in (("train", ids), ("test", test_ids)):
        path = cache.build(data, part_ids, part, 32, tmp_path / "cache", progress=False, absent=absent)
        images = cache.load(path)[1]
        assert (images[..., 3] == 0).all()
        assert images[..., :3].any(axis=(1, 2)).all()


def test_one_part_without_yellow_is_incomplete_and_yellow_of_the_other_is_kept(tiny_dataset):
    data = tiny_dataset()
    for path in [*data.glob("test/*_yellow.png")]:
        path.unlink()
    assert kaggle.list_absent_channels(data) == []
    findings = checks.check(data, progress=False)
    assert set(findings["problem"]) == {"yellow missing"} and set(findings["part"]) == {"test"}


def test_a_whole_channel_that_is_missing_is_one_line(tiny_dataset):
    data = tiny_dataset(images=40)
    for path in [*data.glob("train/*_green.png")]:
        path.unlink()
    finding = one_finding(data)
    assert finding["file"] == "train/train-0000_*.png, train/train-0001_*.png, train/train-0002_*.png (40 in all)"
    assert finding["problem"] == "green missing"
    assert (
        "'rgb' needs the files of red, green and blue, 'rgby' and 'rgb_merge' those of yellow too" in finding["remedy"]
    )
    assert len(checks.dropped_ids(checks.check(data, progress=False), "drop")["train"]) == 40


def test_many_alike_findings_are_one_line_and_all_are_dropped(tiny_dataset):
    data = tiny_dataset(images=9)
    for number in range(5):
        link_to_nothing(channel(data, f"train-{number:04d}"))
        as_16_bit(channel(data, f"train-{number + 4:04d}", "red"))
    findings = checks.check(data, progress=False)
    assert findings["severity"].tolist() == ["error", "note"]
    assert all("(5 in all)" in file for file in findings["file"])
    ids = checks.select(data, findings, "drop")[0]
    assert ids.tolist() == ["train-0005", "train-0006", "train-0007", "train-0008"]


def test_many_findings_with_other_numbers_and_texts_are_one_line(tiny_dataset):
    data = tiny_dataset(images=12)
    for number in range(5):
        path = channel(data, f"train-{number:04d}")
        path.write_bytes(path.read_bytes()[: 300 + number])
    rows = "".join(f"more-{number},{number}.0\n" for number in range(5))  # as pandas writes a column with a gap
    with open(data / "train.csv", "a", encoding="utf-8") as table:
        table.write(rows)
    findings = checks.check(data, progress=False)
    assert findings["problem"].tolist() == [
        "label '0.0' in target '0.0' (the others likewise)",
        "is cut off after 300 bytes (the others likewise)",
    ]
    assert len(checks.select(data, findings, "drop")[0]) == 7


def test_many_sizes_are_one_note(tiny_dataset):
    data = tiny_dataset(images=12)
    for number in range(7):
        for color in atlas.CHANNELS:
            side = 8 + number % 2
            path = channel(data, f"train-{number:04d}", color)
            assert cv2.imwrite(str(path), cv2.imread(str(path), 0)[:side, :side])
    problem = one_finding(data, "note")["problem"]
    assert problem.startswith("7 images are not 32 x 32 pixels as most are, but 4 of 8 x 8, 3 of 9 x 9 (train-0000, ")


def test_a_link_to_nothing_that_nobody_asked_for_is_no_finding(tiny_dataset):
    data = tiny_dataset()
    (data / "train" / "other_red.png").symlink_to(data / "nowhere")
    assert checks.check(data, progress=False).empty
    assert kaggle.fingerprint(data)


# --- other layouts ------------------------------------------------------------------------------------------------


def rename_all(data, old, new, part="train"):
    for path in [*(data / part).iterdir()]:
        path.rename(path.with_name(path.name.replace(old, new)))


def nest(data):
    (data / "train").rename(data / "inner")
    (data / "train").mkdir()
    (data / "inner").rename(data / "train" / "train")


def pack_away(data):
    (data / "train").rename(data / "away")
    (data / "train.tar.gz").write_bytes(b"\x1f\x8b")


def wrap(data):
    (data / "train").rename(data / "away")
    (data / "images").mkdir()
    (data / "away").rename(data / "images" / "train")


LAYOUTS = {
    "upper case": (
        lambda data: rename_all(data, ".png", ".PNG"),
        "files such as train-0000_blue.PNG",
        "rename the files",
    ),
    "upper colour": (
        lambda data: rename_all(data, "_", "_G"),
        "files such as train-0000_Gblue.png",
        "with a --pattern",
    ),
    "jpeg": (lambda data: rename_all(data, ".png", ".jpg"), "24 files such as train-0000_blue.jpg", "use `hpa import"),
    "other ids": (lambda data: rename_all(data, "train-", "x-"), "24 files such as x-0000_blue.png", "the Ids of the"),
    "nested": (nest, "the folder train/train/ is there", "move what it holds one folder up"),
    "tar": (pack_away, "train.tar.gz is there", "unpack it with its own program"),
    "folder in capitals": (
        lambda data: (data / "train").rename(data / "Train"),
        "Train is there",
        "rename it to train",
    ),
    "elsewhere": (wrap, "images/train is there", "move it to"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_another_layout_is_told_with_what_is_there(tiny_dataset, name):
    change, problem, remedy = LAYOUTS[name]
    data = tiny_dataset()
    change(data)
    finding = one_finding(data, "stop")
    assert finding["problem"].startswith("none of its 6 images is there")
    assert problem in finding["problem"] and remedy in finding["remedy"]


def test_a_data_folder_further_down_is_named(tiny_dataset, tmp_path):
    data = tiny_dataset("download/human-protein-atlas")
    findings = checks.check(tmp_path / "download", progress=False)
    assert findings["problem"].iloc[0] == "is not there, but human-protein-atlas/train.csv is there"
    assert findings["remedy"].iloc[0] == f"point DATA at {data}"


def follow(remedy, new, *options):
    """Run the command that a remedy names."""
    command = shlex.split(remedy.split("`")[1].replace("NEW", str(new)))
    assert __main__.main([*command[1:], *options]) == 0
    return cv2.merge([cv2.imread(str(new / "train" / f"train-0000_{color}.png"), 0) for color in atlas.CHANNELS])


def test_the_advice_for_painted_jpegs_and_for_files_of_all_channels_works(tiny_dataset, tmp_path, monkeypatch):
    data = tiny_dataset(images=1, test_images=0)
    before = cache.read_image(data, "train", "train-0000", 32)
    bgra = cv2.merge([before[..., channel_number] for channel_number in (2, 1, 0, 3)])  # as OpenCV orders it
    for path in (data / "train").iterdir():
        path.unlink()
    monkeypatch.chdir(data / "train")
    assert cv2.imwrite("train-0000.png", bgra)
    assert "use `hpa import " in layout.explain_part(data, "train")[1]
    page = (paths.PROJECT / "docs" / "own_data.md").read_text(encoding="utf-8")
    (split,) = re.findall(r"^for name in .+\n(?:    .+\n)+", page, re.MULTILINE)
    exec(split, {"cv2": cv2, "Path": Path, "folder": Path()})
    np.testing.assert_array_equal(cache.read_image(data, "train", "train-0000", 32), before)

    smooth = cv2.GaussianBlur(before, (0, 0), 4)
    Path("train-0000.png").unlink()
    for number, color in enumerate(atlas.CHANNELS):
        channel(data, "train-0000", color).unlink()
        paint = np.zeros((32, 32, 3), np.uint8)
        paint[..., {"red": [2], "green": [1], "blue": [0], "yellow": [1, 2]}[color]] = smooth[..., number, None]
        assert cv2.imwrite(f"train-0000_{color}.jpg", paint, [cv2.IMWRITE_JPEG_QUALITY, 100])
    made = follow(layout.explain_part(data, "train")[1], tmp_path / "new")
    assert np.abs(made.astype(int) - smooth).max() <= 12


def test_the_advice_for_12_bit_tiffs_keeps_their_values(tiny_dataset, tmp_path):
    data = tiny_dataset(images=1, test_images=0)
    before = cache.read_image(data, "train", "train-0000", 32)
    for color in atlas.CHANNELS:
        path = channel(data, "train-0000", color)
        assert cv2.imwrite(str(path.with_suffix(".tif")), cv2.imread(str(path), 0).astype(np.uint16) * 16)
        path.unlink()
    remedy = layout.explain_part(data, "train")[1]
    assert "with --scale for 16 bits" in remedy
    made = follow(remedy, tmp_path / "new", "--scale", "0:4080")
    np.testing.assert_array_equal(made, before)


def test_images_without_a_table_are_told_of_the_import(tiny_dataset):
    folder = tiny_dataset() / "train"
    finding = checks.check(folder, progress=False).iloc[0]
    assert finding["problem"] == "is not there, but 24 images such as train-0000_blue.png are there"
    assert finding["remedy"] == f"for your own images use `hpa import {folder} NEW` (docs/own_data.md)"


def test_the_folder_of_an_import_is_told_its_folder_of_images(tiny_dataset):
    data = tiny_dataset()
    with pytest.raises(ValueError, match=re.escape(f"name {data / 'test'}, which does")):
        image_files.list_ids(data)


def test_test_images_in_another_form_are_an_error_not_a_note(tiny_dataset):
    data = tiny_dataset()
    rename_all(data, ".png", ".jpg", "test")
    assert f"use `hpa import {data / 'test'} NEW`" in one_finding(data)["remedy"]
    findings = checks.check(data, progress=False)
    assert len(checks.select(data, findings, "drop")[2]) == 0


def test_tables_as_other_programs_save_them_are_read_everywhere_alike(tiny_dataset):
    data = tiny_dataset()
    rows = (data / "sample_submission.csv").read_text().splitlines()[1:]
    text = "\ufeffpredicted;id\r\n" + "".join(";".join(row.split(",")[::-1]) + "\r\n" for row in rows)
    (data / "sample_submission.csv").write_bytes(text.encode())
    findings = checks.check(data, progress=False)
    assert set(findings["severity"]) == {"note"}
    test_ids = checks.select(data, findings)[2]
    assert test_ids.tolist() == submission.read_ids(data / "sample_submission.csv").tolist()
    preds = np.eye(28, dtype=np.uint8)[:3]
    path = store.save_table(data, "mine.csv", submission.make_table(test_ids, preds, test_ids))
    assert submission.check(path, data / "sample_submission.csv") == []


def test_hpa_check_takes_zip_archives(tiny_dataset, tmp_path, capsys):
    data = tiny_dataset()
    for part in ("train", "test"):
        shutil.make_archive(str(data / part), "zip", data, part)
        shutil.rmtree(data / part)
    command = ["check", str(data), "--out", str(tmp_path / "out")]
    assert __main__.main(command) == 0
    printed = capsys.readouterr().out
    assert f"the files in train.zip, test.zip need 40.5 kB; {tmp_path / 'out' / 'cache'} has " in printed
    with open(data / "train.csv", "a", encoding="utf-8") as table:
        table.write("train-0009,28\n")
    assert __main__.main(command) == 1
    assert "go to" not in capsys.readouterr().out
