"""What a folder holds where Kaggle's layout has something else, and how to bring it into that layout.

``explain_part`` and ``find_elsewhere`` say it in words, ``find_images`` finds the images for ``import_images``.
"""

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from hpa_lib import atlas
from hpa_lib.data import kaggle
from hpa_lib.data.kaggle import Finding

SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
PATTERN = "{id}_{channel}"  # of file names; HPA's <plate>_<well>_<site>_<colour> fit it
OTHER_PATTERNS = (PATTERN, "{id}-{channel}", "{id}.{channel}", "{id}{channel}", "{channel}_{id}")
PACKED = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar")
CHANNEL = r"_(red|green|blue|yellow)"
IMPORT = "use `hpa import {source} NEW{labels}`"  # an import leaves the files as they are
FORMS = (  # a file name, and what to do with such files
    (rf".+{CHANNEL}\.png", "the Ids of the table are not those of the files: use the table that belongs to them"),
    (
        rf"(?i).+{CHANNEL}\.png",
        "rename the files: they must end in _red.png, _green.png, _blue.png and _yellow.png, in lower case",
    ),
    (rf"(?i).+{CHANNEL}\.(jpe?g|tiff?)", f"{IMPORT}, with --scale for 16 bits (docs/own_data.md)"),
    (
        r"(?i).+\.(png|jpe?g|tiff?)",
        f"{IMPORT} with a --pattern of their names ('{{{{id}}}}' alone for colour files), with --scale for 16 bits "
        "(docs/own_data.md, also for four channels in one file)",
    ),
    (r"(?i).+\.(bmp|webp|gif)", f"save them as PNG, then {IMPORT} (docs/own_data.md)"),
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
            is_labelled = part == "train" and (folder / "train.csv").is_file()
            labels = f" --labels {shlex.quote(str(folder / 'train.csv'))} --label-column Target" if is_labelled else ""
            remedy = remedy.format(source=shlex.quote(str(folder / part)), labels=labels)
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
    images = [entry for entry in kaggle.list_files(folder) if entry.lower().endswith(SUFFIXES)]
    if not deeper and images and name == "train.csv":
        remedy = f"for your own images {IMPORT.format(source=shlex.quote(str(folder)), labels='')} (docs/own_data.md)"
        return f"{len(images):,} images such as {min(images)} are there", remedy
    if not deeper:
        return None
    inside = deeper[0].relative_to(folder)
    is_whole = (deeper[0].parent / "train.csv").exists()
    return f"{inside} is there", f"point DATA at {deeper[0].parent}" if is_whole else f"move it to {folder / name}"


def read_channel_names(text: str) -> dict[str, str]:
    """The name of a channel in file names, in lower case -> the channel: ``{"w1": "red", ...}`` for ``"red=w1,..."``.

    Raises:
        ValueError: the text is not so, a name or channel occurs twice, or red, green or blue is missing.
    """
    if not text:
        return {channel: channel for channel in atlas.CHANNELS}
    pairs = [part.partition("=")[::2] for part in text.replace(" ", "").casefold().split(",")]
    names, complete = {name: channel for channel, name in pairs}, (atlas.CHANNELS, atlas.CHANNELS[:3])
    if not all(names) or len(names) < len(pairs) or sorted(names.values()) not in [sorted(known) for known in complete]:
        raise ValueError(f"channels {text!r}: write red=NAME,green=NAME,blue=NAME and, if there is one, yellow=NAME")
    return names


def _compile(pattern: str, names: Iterable[str]) -> re.Pattern:
    if pattern.count("{id}") != 1 or pattern.count("{channel}") > 1:
        raise ValueError(
            f"pattern {pattern!r}: write {{id}} once and {{channel}} once, or {{id}} alone for colour files"
        )
    suffix = "" if pattern.lower().endswith(SUFFIXES) else f"({'|'.join(map(re.escape, SUFFIXES))})"
    text = re.escape(pattern).replace(r"\{id\}", "(?P<id>[^/]+)").replace(r"\*", "[^/]*")
    longest_first = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    ends = r"(?!\d)" if "{channel}*" in pattern else ""  # w1 is not w10
    text = text.replace(r"\{channel\}", f"(?P<channel>{longest_first}){ends}")
    return re.compile(text + suffix, re.IGNORECASE)


def find_images(source: Path, pattern: str, names: dict[str, str]) -> tuple[dict, list[Finding], list[str]]:
    """The files of each complete image, ``{id: {channel: path}}``, findings about the others, and notes.

    Yellow alone may be missing, if it is for all images.

    Raises:
        ValueError: no such folder, no file fits the pattern, or none of a channel.
    """
    if not source.is_dir():
        raise ValueError(f"{source} is no folder: name the one that holds the images")
    wanted = _compile(pattern, names)
    entries = sorted(source.rglob("*") if "/" in pattern else source.iterdir())
    found = [path.relative_to(source).as_posix() for path in entries if path.suffix.lower() in SUFFIXES]
    files_of = defaultdict(lambda: defaultdict(list))
    for match in filter(None, map(wanted.fullmatch, found)):
        channels = [names[match["channel"].casefold()]] if "{channel}" in pattern else atlas.CHANNELS[:3]
        for channel in channels:
            files_of[match["id"]][channel].append(source / match[0])
    present = {channel for files in files_of.values() for channel in files}
    needed = [channel for channel in atlas.CHANNELS if channel != kaggle.OPTIONAL or channel in present]
    if not present.issuperset(needed):
        raise ValueError(_explain_no_match(source, pattern, names, found, set(needed) - present))
    twins = Counter(image_id.casefold() for image_id in files_of)
    findings, images = [], {}
    for image_id, files in files_of.items():
        problem = _explain_names(image_id, files, needed, twins)
        if problem:
            name = min(files.values())[0].relative_to(source).as_posix()
            findings.append(Finding(name, *problem, drop_id=image_id))
        else:
            images[image_id] = {channel: files[channel][0] for channel in needed}
    others = [name for name in found if not wanted.fullmatch(name)]
    notes = [f"left out, since they do not fit the pattern: {kaggle.shorten(others)}"] if others else []
    return images, findings, notes if kaggle.OPTIONAL in needed else [*notes, "no yellow: train with CHANNELS = 'rgb'"]


def _explain_no_match(source: Path, pattern: str, names: dict, found: list[str], missing: set[str]) -> str:
    if not found:
        return f"{source} holds no file that ends in {', '.join(SUFFIXES)}: name the folder of the images"
    fitting = [other for other in OTHER_PATTERNS if all(map(_compile(other, names).fullmatch, found))]
    remedy = f"the pattern {fitting[0]!r} fits them" if fitting else "give the pattern and the channels' names"
    return (
        f"no {min(missing)} file among the {len(found)} image files of {source} fits {pattern!r} with the channels "
        f"{', '.join(names)}; they are called {kaggle.shorten(found)}: {remedy}"
    )


def _explain_names(image_id: str, files: dict, needed: list[str], twins: Counter) -> tuple[str, str] | None:
    """Problem and remedy of what the file names of one image say; None where all is well."""
    double = [paths for paths in files.values() if len(paths) > 1]
    missing = [channel for channel in needed if channel not in files]
    if not kaggle.GOOD_ID.fullmatch(image_id):
        return f"the Id {image_id!r} is malformed", "use letters, digits, '-', '_' and '.' only"
    if twins[image_id.casefold()] > 1:
        return f"the Id {image_id!r} differs from another in capital letters only", "rename one of them"
    if double:
        return f"{double[0][0].name} and {double[0][1].name} are the same channel of {image_id}", "keep one of them"
    if missing:
        return f"{', '.join(missing)} missing of {image_id}", "add the file, or take the others out"
    return None
