"""The words that the project no longer uses: metaphors, and "an image" where the field says "per image"."""

import ast
import io
import json
import re
import tokenize

import pytest

from hpa_lib import paths

COUNTED = "images|labels|pixels|rows?|operations|thresholds|threads|milliseconds|kB|MB|calls?|fields|files|filters|one"
COUNTED += "|numbers?|function|outline|number >= 0|weight|groups?|bits|waves|jobs|coin|gain|cross-entropy|thread"
UNITS = "image|class|second|side|step|epoch|batch|field|row|core|channel|pixel|block|label set|cell|part|member|model"
UNITS += "|finding|name|bin|rule|pair|sample|process|multiply-add"
PHRASES = {  # what must not be written -> what to write
    rf"\b({COUNTED}) an? ({UNITS})\b": "'per image', 'per class'",
    r"\bto mend\b|\bcannot mend\b|\bmends\b": "'to fix', 'to correct'",
    r"drawn and weighed up": "'sampled more often and weighted more'",
    r"\ball the same[,.;)]": "'anyway', 'equally', or nothing",
    r"\b(in|from) the hands of\b": "name who decides",
    r"\bstands? (in|on|there|twice|beside|behind)\b": "'is in', 'occurs twice'",
    r"\b(lies|lie) (in|on|beside|under|there|nearer|further|at hand)\b": "'is in', 'is stored in'",
    r"\bwhere (the data|they|the outputs|the channels)( and the outputs)? lie\b": "'where ... are stored'",
    r"\broom of (its|their|his) own\b|\bthe room above\b": "'a file of its own', 'room for improvement'",
    r"\bthe doors? (to|of)\b|\btwo doors\b": "name the module",
    r"\ban? .{1,20} of one's own\b": "'the user's ...'",
    r"\bhow much louder\b|\bshouts? \d": "'how much more ... counts'",
    r"\b\d an? multiply-add\b": "'per multiply-add'",
    r"\bdealt (out|to)\b|\b(groups|labels|images) are dealt\b": "'assigned'",
    r"\bthe last word\b|\ba night of\b|\bbrings? (theirs|its own) along\b|\bthat stood above\b": "say it plainly",
    r"\bbelongs? into\b|\bhands out\b|\bempty without\b": "'belongs in', 'offers', 'no rows where'",
}
PLACES = ("README.md", "CONTRIBUTING.md", "docs/*.md", "outputs/*.md", "bench/*.md", "bench/*.py", "hpa_synth/*.py")
PLACES += ("hpa_lib/**/*.py", "notebooks/*.ipynb")


def list_files():
    return sorted(path for place in PLACES for path in paths.PROJECT.glob(place))


def read_english(path):
    """The part of a file that is written for people: all of a page, comments and texts of code, Markdown of cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        return "\n".join("".join(cell["source"]) for cell in cells)
    return read_code(text)


def read_code(text):
    comments = [
        token.string for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type == tokenize.COMMENT
    ]
    texts = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
    return "\n".join([*comments, *(value for value in texts if isinstance(value, str))])


def find_phrases(english):
    flat = re.sub(r"\s+(# )?", " ", english)
    return [
        f"{match[0]!r}: write {instead}"
        for bad, instead in PHRASES.items()
        for match in re.finditer(bad, flat, re.IGNORECASE)
    ]


@pytest.mark.parametrize("path", list_files(), ids=lambda path: path.relative_to(paths.PROJECT).as_posix())
def test_no_worn_phrases(path):
    assert find_phrases(read_english(path)) == []


@pytest.mark.parametrize(
    "code, number",
    [
        ('"""One temperature to mend them."""', 1),
        ("rows = 3  # one row an epoch", 1),
        ('"""One row a finding; 64 bits a channel; 2 a multiply-add."""', 3),
        ('"""Groups are dealt to hands; the last word, which the data bring their own way."""', 2),
        ('"""Where the data and the outputs\nlie."""', 1),
        ('print(f"{flops} operations an image")', 1),
        ('"""All classes weigh all the same, and a label\'s structure is in the frame; hand-set weights."""', 1),
        ('"""Images per second of an image; the mean of a class; rows of a batch."""', 0),
    ],
)
def test_the_search_for_phrases_finds_them(code, number):
    assert len(find_phrases(read_code(code))) == number
