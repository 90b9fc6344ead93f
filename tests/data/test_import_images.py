"""A researcher's images in Kaggle's layout: what is read, what is refused with a sentence, what a second call does."""

import io
import os
import re

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from hpa_lib import __main__, atlas
from hpa_lib.data import checks, image_files, import_images, kaggle, layout, parallel


def noise(seed, side=32, most=65535, dtype=np.uint16):
    return np.random.default_rng(seed).integers(0, most + 1, (side, side)).astype(dtype)


@pytest.fixture
def source(tmp_path):
    """Six images of four 16-bit TIFF files each: a1 to a6."""
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(1, 7):
        for seed, channel in enumerate(atlas.CHANNELS):
            tifffile.imwrite(folder / f"a{number}_{channel}.tif", noise(10 * number + seed))
    return folder


@pytest.fixture
def take(source, tmp_path):
    """A factory: import the source folder; the result and the folder that was written."""

    def run(**options):
        return import_images.import_folder(source, tmp_path / "out", progress=False, **options), tmp_path / "out"

    return run


def write_labels(source, text):
    path = source.parent / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def findings_of(result):
    return [": ".join(row) for row in result.findings.itertuples(index=False)]


def read(out, image_id, channel, part="test"):
    return cv2.imread(str(out / part / f"{image_id}_{channel}.png"), cv2.IMREAD_UNCHANGED)


def test_16_bit_tiff_and_hpas_names_pass_the_checks_of_training_data(source, take):
    labels = write_labels(
        source,
        "Id,Location,plate\na1,Nucleoplasm;Rods & Rings,p1\na2,nucleoli fibrillar centre,p1\na3,16 0,p2\n"
        'a4,"Cytosol, Cytoskeleton (Actin filaments)",p2\na5,,p3\n',
    )
    result, out = take(labels=labels, group_column="plate")
    assert (result.train, result.test, result.written, len(result.findings)) == (4, 2, 6, 0)
    table = pd.read_csv(out / "train.csv", dtype=str)
    assert dict(zip(table["Id"], table["Target"], strict=True)) == {
        "a1": "0 27",
        "a2": "3",
        "a3": "0 16",
        "a4": "12 25",
    }
    assert kaggle.read_sample_submission(out / "sample_submission.csv").tolist() == ["a5", "a6"]
    assert kaggle.read_groups(out / "groups.csv", ["a1", "a2", "a3"]).tolist() == [0, 0, 1]
    assert checks.check(out, progress=False).empty
    stored = read(out, "a1", "green", "train")
    np.testing.assert_array_equal(stored, np.rint(tifffile.imread(source / "a1_green.tif") / 257).astype(np.uint8))


def test_scales_are_of_the_data_set_not_of_an_image(source, take, tmp_path):
    for number in range(1, 7):
        tifffile.imwrite(source / f"a{number}_green.tif", noise(number, most=100 * number))
    result, out = take(scale="data")
    (note,) = result.notes
    stated = note.rpartition(" ")[2]
    low, high = map(int, stated.split(",")[1].split(":"))
    assert low <= 2 and 550 < high <= 600
    dim = tifffile.imread(source / "a1_green.tif")
    np.testing.assert_array_equal(read(out, "a1", "green"), np.rint(np.clip((dim - low) / (high - low), 0, 1) * 255))
    assert read(out, "a1", "green").max() < 60 and read(out, "a6", "green").max() == 255
    other = import_images.import_folder(source, tmp_path / "again", scale=stated, progress=False)
    assert other.written == 6
    np.testing.assert_array_equal(read(out, "a3", "red"), read(tmp_path / "again", "a3", "red"))


def test_twelve_bits_in_16_are_told_once_for_all(source, take):
    for path in source.iterdir():
        tifffile.imwrite(path, tifffile.imread(path) // 16)
    result, _ = take()
    assert "--scale 0:4095" in result.notes[0] and result.findings.empty


@pytest.mark.parametrize("scale", ["half", "5:5", "9:3", "0:65536", "1:2,3:4", "", "1:2,x,3:4", "-1:5"])
def test_a_bad_scale_is_refused(take, scale):
    with pytest.raises(ValueError, match="scale .*: use full, data, or LOW:HIGH"):
        take(scale=scale)


def test_second_call_writes_what_is_missing_or_changed_only(source, take, monkeypatch):
    _, out = take()
    dates = {path.name: path.stat().st_ino for path in out.glob("test/*.png")}
    (out / "test" / "a2_blue.png").unlink()
    (out / "test" / ".12345678.part.a3_red.png").write_bytes(b"half")
    changed = source / "a5_green.tif"
    tifffile.imwrite(changed, noise(99))
    os.utime(changed, ns=(1, 10**18))
    result, _ = take()
    assert result.written == 2 and result.test == 6
    again = {path.name: path.stat().st_ino for path in out.glob("test/*.png")}
    assert {name.split("_")[0] for name in dates if again[name] != dates[name]} == {"a2", "a5"}
    assert not list(out.glob("*/.*.part.*"))
    np.testing.assert_array_equal(read(out, "a5", "green"), np.rint(noise(99) / 257))
    assert take()[0].written == 0


def test_an_interrupted_import_leaves_no_half_file_and_goes_on(take, monkeypatch):
    real, done = import_images._write, []

    def stop_at_the_third(out, job, planes):
        done.append(job.id)
        if len(done) == 3:
            raise KeyboardInterrupt
        real(out, job, planes)

    monkeypatch.setattr(import_images, "_write", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        take()
    monkeypatch.undo()
    result, out = take()
    assert result.written == 4 and result.test == 6 and len(list(out.glob("test/*"))) == 24


def test_labels_that_come_later_move_the_image(source, take):
    _, out = take()
    result, _ = take(labels=write_labels(source, "\ufeffId;Location\r\na1;Cytosol\r\n"))  # as Excel saves it
    assert (result.train, result.test) == (1, 5)
    assert len(list(out.glob("train/a1_*.png"))) == 4 and not list(out.glob("test/a1_*.png"))


def test_another_setting_or_a_foreign_folder_is_refused(source, take, tmp_path):
    _, out = take()
    with pytest.raises(ValueError, match=r"was imported with scale '0:65535,.*new folder"):
        take(scale="0:4095")
    for place, words in ((source, "one folder"), (source / "inside", "one folder"), (tmp_path, "one folder")):
        with pytest.raises(ValueError, match=words):
            import_images.import_folder(source, place, progress=False)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds thesis.txt"):
        import_images.import_folder(source, tmp_path / "other", progress=False)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.txt"]
    with pytest.raises(ValueError, match="is a file"):
        import_images.import_folder(source, tmp_path / "other" / "thesis.txt", progress=False)


def test_channel_names_and_patterns(tmp_path):
    folder = tmp_path / "plates"
    for well in ("A01", "B02"):
        (folder / well).mkdir(parents=True)
        for number in (1, 2, 10, 11):
            cv2.imwrite(str(folder / well / f"s1_w{number}_4F2.TIF"), noise(number, dtype=np.uint8, most=255))
    names = "red=w1,green=w10,blue=w2"
    result = import_images.import_folder(folder, tmp_path / "out", "{id}/s1_{channel}*", names, progress=False)
    left_out = "left out, since they do not fit the pattern: A01/s1_w11_4F2.TIF, B02/s1_w11_4F2.TIF"
    assert (result.test, result.notes) == (2, [left_out, "no yellow: train with CHANNELS = 'rgb'"])
    assert kaggle.list_absent_channels(tmp_path / "out") == ["yellow"]
    np.testing.assert_array_equal(read(tmp_path / "out", "A01", "green"), noise(10, dtype=np.uint8, most=255))


def test_the_longer_of_two_names_of_channels_is_meant(tmp_path):
    for name in ("c", "cy", "dapi"):
        cv2.imwrite(str(tmp_path / f"x_{name}_1.png"), noise(len(name), dtype=np.uint8, most=255))
    images, findings, _ = layout.find_images(tmp_path, "{id}_{channel}*", {"c": "red", "cy": "green", "dapi": "blue"})
    assert images["x"]["green"].name == "x_cy_1.png" and not findings


@pytest.mark.parametrize(
    "text", ["red=w1", "red=w1,green=w1,blue=w2", "red,green,blue", "red=a,green=b,violet=c", "red=a,green=b,blue="]
)
def test_bad_channel_names_are_refused(take, text):
    with pytest.raises(ValueError, match="write red=NAME,green=NAME,blue=NAME"):
        take(channels=text)


def test_a_pattern_that_fits_nothing_says_what_would(source, take, tmp_path):
    with pytest.raises(ValueError, match=r"a1_blue.tif, a1_green.tif.*the pattern '\{id\}_\{channel\}' fits them"):
        take(pattern="{id}-{channel}.png")
    with pytest.raises(
        ValueError, match=r"no blue file.*with the channels w1, .*give the pattern and the channels' names"
    ):
        take(channels="red=w1,green=w2,blue=w3")
    with pytest.raises(ValueError, match="write {id} once"):
        take(pattern="{channel}.tif")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no file that ends in .png"):
        import_images.import_folder(tmp_path / "empty", tmp_path / "out", progress=False)
    with pytest.raises(ValueError, match="is no folder"):
        import_images.import_folder(tmp_path / "nowhere", tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_bad_names_leave_their_image_out_and_no_other(source, take):
    (source / "a1_red.tif").unlink()
    Image.fromarray(noise(1, dtype=np.uint8, most=255)).save(source / "a2_red.png")
    for channel in atlas.CHANNELS:
        (source / f"a3_{channel}.tif").rename(source / f"A4_{channel}.tif")
        (source / f"a5_{channel}.tif").rename(source / f"a 5_{channel}.tif")
    (source / "overview.png").write_bytes(b"x")
    result, out = take()
    assert [path.name for path in sorted(out.glob("test/*_red.png"))] == ["a6_red.png"]
    told = "\n".join(findings_of(result))
    assert "red missing of a1" in told and "a2_red.png and a2_red.tif are the same channel of a2" in told
    assert "'A4' differs from another" in told and "'a4' differs from another" in told and "'a 5' is malformed" in told
    assert len(result.findings) == 5 and result.notes == ["left out, since they do not fit the pattern: overview.png"]
    assert pd.read_csv(out / import_images.FINDINGS)["remedy"].notna().all()


def as_bytes(pixels, mode=None, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels, mode).save(buffer, **options)
    return buffer.getvalue()


def as_tiff(pixels, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


GREY = noise(3, dtype=np.uint8, most=255)
BAD_FILES = {
    "4 pages": lambda: as_tiff(np.stack([noise(1)] * 4), photometric="minisblack"),
    "kind float32": lambda: as_tiff(noise(1).astype(np.float32)),
    "kind int16": lambda: as_tiff(noise(1).astype(np.int16)),
    "kind uint32": lambda: as_tiff(noise(1).astype(np.uint32)),
    "kind bool": lambda: as_tiff(GREY > 99),
    "1 planes of MINISWHITE": lambda: as_tiff(noise(1), photometric="miniswhite"),
    "4 planes of MINISBLACK": lambda: as_tiff(np.stack([noise(1)] * 4, -1), photometric="minisblack", planarconfig=1),
    "3 planes of RGB": lambda: as_tiff(np.stack([noise(1)] * 3), photometric="rgb", planarconfig="separate"),
    "CMYK": lambda: as_bytes(np.stack([GREY] * 4, -1), "CMYK", format="jpeg"),
    "different pictures": lambda: as_bytes(np.stack([GREY, GREY.T, GREY], -1), format="png"),
    "transparent": lambda: as_bytes(np.stack([GREY] * 4, -1), "RGBA", format="png"),
    "TIFF.*damaged|is damaged": lambda: as_tiff(noise(1))[:900],
    "cut off": lambda: as_bytes(GREY, format="png")[:-20],
    "is damaged and cannot be decoded": lambda: as_bytes(GREY, format="jpeg")[:500],
    "empty": lambda: b"",
    "no PNG, TIFF or JPEG": lambda: b"Id,Target",
    "16 x 16 and 32 x 32 pixels": lambda: as_tiff(noise(1, 16)),
}


@pytest.mark.parametrize("words", BAD_FILES)
def test_a_file_that_cannot_be_read_for_certain_is_a_finding(source, take, words, capfd):
    (source / "a1_green.tif").write_bytes(BAD_FILES[words]())
    result, out = take()
    assert len(result.findings) == 1 and result.test == 5
    (told,) = findings_of(result)
    assert told.startswith("a1_") and any(word in told for word in words.replace(".*", "|").split("|")), told
    assert all(part.strip() for part in told.split(": "))
    assert not list(out.glob("test/a1_*")) and capfd.readouterr().err == ""


@pytest.mark.parametrize("cut", range(8, 2300, 97))
def test_no_cut_of_a_tiff_gets_through(cut, caplog):
    whole = as_tiff(noise(1), compression="zlib", predictor=True)
    assert len(whole) > 2300
    path = io.BytesIO(whole[:cut])
    path.read_bytes = path.getvalue
    with pytest.raises(ValueError, match="damaged|not a PNG"):
        image_files.read_foreign(path)
    assert caplog.records == []


def test_other_forms_that_are_certain_are_read(source, take):
    painted = np.zeros((32, 32, 3), np.uint8)
    painted[8:24, 8:24, 1] = painted[8:24, 8:24, 0] = 200
    files = {
        "red": as_bytes(np.stack([GREY] * 3, -1), format="png"),
        "green": as_bytes(GREY, format="png"),
        "blue": as_tiff(GREY, compression="zlib"),
        "yellow": as_bytes(painted, format="jpeg", quality=90),  # as HPA's own: yellow is red and green
    }
    for channel, data in files.items():
        (source / f"a1_{channel}.tif").write_bytes(data)
    result, out = take()
    assert result.findings.empty
    for channel in ("red", "green", "blue"):
        np.testing.assert_array_equal(read(out, "a1", channel), GREY)
    yellow = read(out, "a1", "yellow").astype(int)
    assert abs(yellow[12:20, 12:20] - 200).max() < 8 and yellow[:4].max() < 8


def test_8_bit_files_and_a_scale_in_16_bit_values_do_not_mix(source, take):
    (source / "a1_green.tif").write_bytes(as_tiff(GREY))
    result, _ = take(scale="0:4095")
    assert findings_of(result) == [
        "a1_green.tif: has 8 bits, and the scale is in 16-bit values: export all files alike"
    ]
    for path in source.iterdir():
        path.write_bytes(as_tiff(GREY))
    with pytest.raises(ValueError, match="no range for blue.*data is for 16-bit files"):
        take(scale="data")


def test_each_channel_has_its_range(source, take):
    with pytest.raises(ValueError, match="has no range for yellow"):
        take(scale="0:10,0:20,0:30")
    for path in source.iterdir():
        tifffile.imwrite(path, np.arange(32 * 32, dtype=np.uint16).reshape(32, 32))
    _, out = take(scale="0:100,0:200,100:400,0:800")
    last = [np.flatnonzero(read(out, "a1", channel) < 255)[-1] for channel in atlas.CHANNELS]
    assert last == [99, 199, 399, 798]  # 798.5 of 800 is rounded to 255
    assert np.flatnonzero(read(out, "a1", "blue"))[0] == 101


def test_images_that_are_not_square_are_cropped_when_asked(tmp_path):
    (tmp_path / "wide").mkdir()
    wide = np.concatenate([noise(1), noise(2), noise(3)], axis=1)[:, 16:80]
    for channel in atlas.CHANNELS:
        tifffile.imwrite(tmp_path / "wide" / f"a1_{channel}.tif", wide)
    result = import_images.import_folder(tmp_path / "wide", tmp_path / "whole", progress=False)
    assert "is not square (64 x 32 pixels): use --crop" in findings_of(result)[0] and result.test == 0
    result = import_images.import_folder(tmp_path / "wide", tmp_path / "out", crop=True, progress=False)
    assert result.findings.empty
    np.testing.assert_array_equal(read(tmp_path / "out", "a1", "red"), np.rint(noise(2) / 257))


@pytest.mark.parametrize("name, alpha", [("x.png", 0), ("x.png", 1), ("x.tif", 0), ("x.jpg", 0)])
def test_colour_files(tmp_path, name, alpha):
    (tmp_path / "colour").mkdir()
    blocks = np.kron(np.random.default_rng(0).integers(0, 256, (4, 4, 3 + alpha)), np.ones((16, 16, 1))).astype(
        np.uint8
    )
    Image.fromarray(blocks).save(tmp_path / "colour" / name, **({"quality": 100} if name == "x.jpg" else {}))
    result = import_images.import_folder(tmp_path / "colour", tmp_path / "out", pattern="{id}", progress=False)
    assert result.findings.empty and result.notes == ["no yellow: train with CHANNELS = 'rgb'"]
    for number, channel in enumerate(atlas.CHANNELS[:3]):
        stored = read(tmp_path / "out", "x", channel).astype(int)
        assert abs(stored[8::16, 8::16] - blocks[8::16, 8::16, number]).max() <= (6 if name == "x.jpg" else 0)
    Image.fromarray(GREY).save(tmp_path / "colour" / "grey.png")
    result = import_images.import_folder(tmp_path / "colour", tmp_path / "out", pattern="{id}", progress=False)
    assert findings_of(result) == [
        "grey.png: is a grey image, and the pattern is for colour files: give a pattern with {channel}"
    ]


def test_label_rows_that_cannot_be_used_are_listed_and_never_guessed(source, take):
    labels = write_labels(
        source,
        "Id,Location\na1,Vesicles;Cytosol\na2,Cytosol\na2,Nucleoli\na3,Cytosol\na3,Cytosol\nb7,Cytosol\na4,28\n"
        "a5,Cytosol,extra\n",
    )
    result, out = take(labels=labels)
    told = findings_of(result)
    assert len(told) == 5 and sum("line" in row for row in told) == 5
    assert any("line 2" in row and "among the 28, 'Vesicles'" in row for row in told)
    assert any("line 4" in row and "an earlier row of this Id has other labels" in row for row in told)
    assert any("'b7'" in row and "no image has this Id" in row for row in told)
    assert any("line 8" in row and "label '28'" in row for row in told)
    assert any("line 9" in row and "more or fewer cells" in row for row in told)
    assert pd.read_csv(out / "train.csv", dtype=str).values.tolist() == [["a3", "25"]]
    assert kaggle.read_sample_submission(out / "sample_submission.csv").tolist() == ["a5", "a6"]


def test_an_image_with_a_finding_is_not_reported_again_for_its_label_row(source, take):
    (source / "a1_green.tif").unlink()
    result, _ = take(labels=write_labels(source, "Id,Location\na1,Cytosol\na2,Cytosol\n"))
    assert findings_of(result) == ["a1_blue.tif: green missing of a1: add the file, or take the others out"]


@pytest.mark.parametrize(
    ("name", "question"),
    [
        ("Nucleolus", "did you mean Nucleoli or Nucleoplasm? use"),
        ("Mitochondrion", "did you mean Mitochondria? use"),
        ("Vesicles", "'Vesicles': use"),
    ],
)
def test_the_nearest_names_are_asked_for(name, question):
    with pytest.raises(ValueError, match=re.escape(question)):
        atlas.parse_locations(name)


def test_strict_writes_no_table_with_any_finding(source, take):
    labels = write_labels(source, "Id,Location\na1,Cytosol\na2,Cytosol\n")
    result, out = take(labels=labels)
    assert (out / "train.csv").exists()
    (source / "a1_red.tif").write_bytes(b"")
    result, out = take(labels=labels, strict=True)
    assert (result.train, result.test) == (0, 0) and len(result.findings) == 1
    assert sorted(path.name for path in out.glob("*.csv")) == [import_images.FINDINGS]


def test_wrong_table_or_columns_are_refused(source, take, tmp_path):
    with pytest.raises(ValueError, match="name the table of the labels"):
        take(labels=tmp_path / "nowhere.csv")
    labels = write_labels(source, "Id,Location\na1,Cytosol\n")
    with pytest.raises(ValueError, match="no column 'plate'"):
        take(labels=labels, group_column="plate")
    with pytest.raises(ValueError, match="no column 'Main location' .*: name the column of the labels with --label"):
        take(labels=labels, label_column="Main location")


def test_many_processes_give_the_same_bytes(source, take, tmp_path, monkeypatch):
    _, out = take()
    monkeypatch.setattr(import_images, "WORTH_A_PROCESS", 3)
    monkeypatch.setattr(import_images, "CHUNK", 2)
    monkeypatch.setattr(parallel, "count_cores", lambda: 2)
    import_images.import_folder(source, tmp_path / "two", progress=False)
    for path in out.glob("test/*.png"):
        assert path.read_bytes() == (tmp_path / "two" / "test" / path.name).read_bytes()


def test_the_command_prints_findings_and_what_is_next(source, tmp_path, capsys):
    labels = write_labels(source, "Id,Location\na1,Cytosol\na2,Vesicles\n")
    arguments = ["import", str(source), str(tmp_path / "out")]
    assert __main__.main([*arguments, "--labels", str(labels)]) == 1
    printed = capsys.readouterr().out
    assert "labels.csv line 3 (Id 'a2'): no such location among the 28, 'Vesicles': " in printed
    assert "1 images with labels, 4 without; 5 of them written now" in printed
    assert f"next: hpa check {tmp_path / 'out'}" in printed
    assert __main__.main(arguments) == 0
    assert f"no labels: next: hpa predict RUN {tmp_path / 'out' / 'test'} NEW" in capsys.readouterr().out
    assert __main__.main([*arguments, "--labels", str(labels), "--strict"]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"refused: no table was written because of 1 findings in {tmp_path / 'out' / 'import_findings.csv'}"
    assert __main__.main([*arguments, "--scale", "x"]) == 2


@pytest.mark.parametrize("text, row", [
    ("Nucleoplasm", [0]), ("nucleoli;Nucleoli fibrillar center", [2, 3]), ("Rods and rings", [27]), ("", []),
    ("Cell Junctions;Focal adhesions; MTOC", [13, 18, 22]), ("Cytoskeleton (Microtubule end)", [15]), ("5", [5]),
    ("Lipid  Droplets,Cytosol,Cytosol", [20, 25]),
])  # fmt: skip
def test_locations(text, row):
    assert np.flatnonzero(atlas.parse_locations(text)).tolist() == row


def test_every_name_of_the_28_is_a_location():
    for number, name in enumerate(atlas.LABELS):
        assert np.flatnonzero(atlas.parse_locations(name)).tolist() == [number]
