"""What a data folder holds where Kaggle's layout has something else, and how to bring it into that layout."""

import re
from pathlib import Path

from hpa_lib.data import kaggle

PACKED = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar")
CHANNEL = r"_(red|green|blue|yellow)"
FORMS = (  # a file name, and what to do with such files; {name} and {stem} are the first one's
    (rf".+{CHANNEL}\.png", "the Ids of the table are not those of the files: use the table that belongs to them"),
    (
        rf"(?i).+{CHANNEL}\.png",
        "rename the files: they must end in _red.png, _green.png, _blue.png and _yellow.png, in lower case",
    ),
    (
        rf"(?i).+{CHANNEL}\.(jpe?g|tiff?|bmp|webp|gif)",
        "write each as a grey PNG of its brightest plane, in Python: "
        'cv2.imwrite("{stem}.png", cv2.imread("{name}").max(axis=2))',
    ),
    (
        r"(?i).+\.(png|tiff?|webp)",
        "if each file holds all channels of an image, split it into four, in Python: "
        'for color, plane in zip(("blue", "green", "red", "yellow"), '
        'cv2.split(cv2.imread("{name}", cv2.IMREAD_UNCHANGED))): cv2.imwrite(f"{stem}_{{color}}.png", plane)',
    ),
    (
        r"(?i).+\.(jpe?g|bmp|gif)",
        "if each file shows red, green and blue of an image, split it, in Python: "
        'for color, plane in zip(("blue", "green", "red"), cv2.split(cv2.imread("{name}"))): '
        'cv2.imwrite(f"{stem}_{{color}}.png", plane)',
    ),
)


def explain_part(folder: Path, part: str) -> tuple[str, str] | None:
    """What there is in place of the channel files of a part (``train`` or ``test``), and the remedy; None: nothing."""
    files = kaggle.list_files(folder / part)
    if (folder / part).is_symlink() and not (folder / part).exists():
        return "the folder is a link whose target is missing", "fetch the folder that it names"
    if (folder / part / part).is_dir():
        return f"the folder {part}/{part}/ is there", f"move what it holds one folder up, into {part}/"
    for pattern, remedy in FORMS:
        found = sorted(name for name in files if re.fullmatch(pattern, name))
        if found:
            remedy = remedy.format(name=found[0], stem=Path(found[0]).stem)
            return f"{len(found):,} files such as {found[0]} are there", remedy
    for suffix in PACKED:
        if (folder / f"{part}{suffix}").is_file():
            return f"{part}{suffix} is there", f"unpack it with its own program, so that the files are in {part}/"
    return find_elsewhere(folder, part)


def find_elsewhere(folder: Path, name: str) -> tuple[str, str] | None:
    """The same table or folder in other letters or further down, and the remedy; None: nowhere."""
    same = [entry for entry in kaggle.list_files(folder) if entry.lower() == name and entry != name]
    if same:
        return f"{same[0]} is there", f"rename it to {name}"
    deeper = sorted([*folder.glob(f"*/{name}"), *folder.glob(f"*/*/{name}")])
    deeper = [path for path in deeper if path.is_file() or next(path.glob("*.png"), None)]
    if not deeper:
        return None
    inside = deeper[0].relative_to(folder)
    is_whole = (deeper[0].parent / "train.csv").exists()
    return f"{inside} is there", f"point DATA at {deeper[0].parent}" if is_whole else f"move it to {folder / name}"
