"""All that can be wrong with a data folder: one sentence each, and what is left of the folder."""

import cv2
import numpy as np
import pandas as pd
import pytest

from hpa_lib import __main__ as main_module
from hpa_lib import checks, dataset, png
from hpa_lib import labels as label_names

HEADER = "Id,Target\n"


def channel(data, image_id="train-0001", color="green", part="train"):
    return data / part / f"{image_id}_{color}.png"


def one_finding(data, severity="error"):
    """The single finding of a folder, after checking that it is told in full."""
    findings = checks.check(data, progress=False)
    assert list(findings.columns) == dataset.FINDINGS
    assert len(findings) == 1, findings.to_string()
    finding = findings.iloc[0]
    assert finding["severity"] == severity
    assert finding["file"] and finding["problem"] and finding["remedy"]
    return finding


def test_a_good_folder_has_no_findings(tiny_dataset):
    data = tiny_dataset(groups=True)
    findings = checks.check(data, progress=False)
    assert findings.empty
    assert list(findings.columns) == dataset.FINDINGS
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


BAD_IMAGES = {
    "missing": (lambda path: path.unlink(), r"train-0001_green\.png missing"),
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
    "channel smaller": (smaller, r"not one square size in its four channels \(16 x 16, 32 x 32 pixels\)"),
    "channel oblong": (oblong, "not one square size"),
    "copied channel": (
        lambda path: path.write_bytes(path.with_name("train-0001_red.png").read_bytes()),
        r"is the same file as train-0001_red\.png",
    ),
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
    before = dataset.read_channel(channel(data))
    convert(channel(data))
    assert one_finding(data, "note")["problem"].startswith(problem)
    np.testing.assert_array_equal(dataset.read_channel(channel(data)), before)
    assert len(checks.select(data, checks.check(data, progress=False))[0]) == 6


def test_a_blank_landmark_channel_is_only_noted(tiny_dataset):
    data = tiny_dataset()
    blank(channel(data, color="yellow"))
    assert "is blank" in one_finding(data, "note")["problem"]


def test_a_whole_image_of_another_size_is_noted(tiny_dataset):
    data = tiny_dataset()
    for color in label_names.CHANNELS:
        smaller(channel(data, color=color))
    assert one_finding(data, "note")["problem"] == "16 x 16 pixels, most are 32 x 32"


def test_an_image_without_any_file_is_one_finding(tiny_dataset):
    data = tiny_dataset()
    for color in label_names.CHANNELS:
        channel(data, "test-0000", color, "test").unlink()
    finding = one_finding(data)
    assert finding["problem"] == "none of the four channel files is there"
    _, _, test_ids = checks.select(data, checks.check(data, progress=False), "drop")
    assert test_ids.tolist() == ["test-0001", "test-0002"]


def test_a_broken_stream_with_right_checksums_is_found_when_it_is_decoded(tiny_dataset):
    data = tiny_dataset()
    broken_stream(channel(data))
    with pytest.raises(ValueError, match=r"train-0001_green\.png cannot be decoded"):
        dataset.read_channel(channel(data))


def test_stray_files_are_noted_hidden_ones_are_not(tiny_dataset):
    data = tiny_dataset()
    (data / "train" / "Thumbs.db").write_bytes(b"x")
    (data / "train" / "._train-0001_green.png").write_bytes(b"x")
    assert one_finding(data, "note")["problem"] == "1 files belong to no good row of train.csv, first Thumbs.db"


def test_no_images_at_all_stops_with_one_finding(tiny_dataset):
    data = tiny_dataset(images=3, test_images=0)
    for path in (data / "train").iterdir():
        path.unlink()
    (data / "sample_submission.csv").unlink()
    findings = checks.check(data, progress=False)
    assert findings["severity"].tolist() == ["note", "stop"]
    for on_bad in ("strict", "drop"):
        with pytest.raises(ValueError, match="train: holds no PNG: unpack the archive there"):
            checks.select(data, findings, on_bad)


def test_train_and_test_may_not_share_an_id(tiny_dataset):
    data = tiny_dataset()
    with open(data / "train.csv", "a", encoding="utf-8") as file:
        file.write("test-0001,5\n")
    for color in label_names.CHANNELS:
        channel(data, "test-0001", color).write_bytes(channel(data, "test-0001", color, "test").read_bytes())
    assert "Id test-0001 is in sample_submission.csv too" in one_finding(data)["problem"]
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


def test_an_archive_is_no_folder(tmp_path):
    (tmp_path / "all.zip").write_bytes(b"PK")
    finding = one_finding(tmp_path / "all.zip", "stop")
    assert finding["remedy"] == "unzip it (notebook 00 does) and check the folder"


def test_hpa_check_exits_0_1_and_1(tiny_dataset, capsys):
    data = tiny_dataset()
    assert main_module.main(["check", str(data)]) == 0
    as_16_bit(channel(data))
    assert main_module.main(["check", str(data)]) == 0
    assert main_module.main(["check", str(data), "--strict"]) == 1
    cut(channel(data, color="red"))
    assert main_module.main(["check", str(data)]) == 1
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
