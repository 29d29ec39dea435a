"""Escaping of text from outside: for terminals, CSV, JSON, plots and file names."""

import csv
import io
import json
import os
import unicodedata

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from convlens.errors import ConvlensError, PhotoError
from convlens.text import (
    composed,
    csv_text,
    file_name,
    json_text,
    plot_text,
    printable,
    read_csv_text,
)

HOSTILE = [
    "bad\x1b[31m\n  fine  all good.png",
    "\r\x00\x07\x7f\x9b2J",
    "\u202egnp.exe",
    "a\u2028b\u2029c",
    "\ud800 and \udce9",
    "=cmd|'/c calc'!A1",
    "../../etc/passwd",
    "[/nope] [bold]x[/bold] :cat:",
    "<script>alert(1)</script>",
    "$\\frac{$",
    "x" * 400,
]
HARMLESS = ["cat.jpg", "Müller 東京.png", "👩\u200d🔬.jpg", "a\u00a0b", "می\u200cخواهم", "C:\\x1b"]


@pytest.mark.parametrize("text", HOSTILE)
def test_printable_text_is_one_line_that_a_terminal_shows(text):
    shown = printable(text)
    shown.encode()  # raises for single surrogates
    categories = {unicodedata.category(char) for char in shown}
    assert not categories & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert printable(shown) == shown


@pytest.mark.parametrize("text", HARMLESS)
def test_other_text_stays_as_it_is(text):
    assert printable(text) == text
    assert json.loads(json_text(text)) == text
    assert text in json_text({"key": text}).replace("\\\\", "\\")


def test_escapes_are_those_of_python():
    assert printable("a\x1b\n\t\u202e\U000e0041") == r"a\x1b\n\t\u202e\U000e0041"
    assert printable(os.fsdecode(b"caf\xe9.jpg")) == r"caf\xe9.jpg"
    assert printable("a\n\tb\x1b", lines=True) == "a\n\tb\\x1b"


@pytest.mark.parametrize("text", [*HOSTILE, *HARMLESS, "a\n"])
def test_json_holds_the_same_text(text):
    written = json_text({text: [text, 1]})
    assert json.loads(written) == {text: [text, 1]}
    written.encode()
    assert "\x1b" not in written
    assert "\u202e" not in written


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "＝", "'=", "''-"])
def test_no_cell_is_a_formula_and_readers_undo_it(start):
    text = f"{start}1+1"
    cell = csv_text(text)
    assert cell == f"'{text}"
    assert read_csv_text(cell) == text


@pytest.mark.parametrize("text", ["cat", "'tis", "''", "", "a=b", " =1"])
def test_other_cells_are_not_changed(text):
    assert csv_text(text) == text
    assert read_csv_text(text) == text


def test_cells_survive_a_csv_file():
    file = io.StringIO(newline="")
    csv.writer(file).writerows([[csv_text(text)] for text in HOSTILE])
    file.seek(0)
    assert [read_csv_text(row[0]) for row in csv.reader(file)] == HOSTILE


@pytest.mark.parametrize(
    "text", [*HOSTILE, *HARMLESS, "", ".", "..", ".convlens-1", "/", "a" * 255]
)
def test_file_names_stay_in_their_folder(tmp_path, text):
    name = file_name(text)
    (tmp_path / name).mkdir()
    (tmp_path / f"100-{name}.unfinished").touch()  # there is room for more
    assert name in [path.name for path in tmp_path.iterdir()]
    assert not name.startswith(".")


def test_long_names_stay_different_and_keep_their_suffix():
    names = {file_name("é" * 200 + f"{number}.jpg") for number in range(3)}
    assert len(names) == 3
    assert {name[-4:] for name in names} == {".jpg"}


def test_decomposed_and_composed_names_are_equal():
    assert composed("Mu\u0308ller") == composed("M\u00fcller") == "M\u00fcller"


@pytest.mark.parametrize("text", ["$\\frac{$", "a $5 and $6", "plain"])
def test_plots_take_no_text_for_a_formula(text):
    drawn = []
    for shown, parse_math in ((plot_text(text), True), (text, False)):
        canvas = FigureCanvasAgg(Figure())
        canvas.figure.text(0.5, 0.5, shown, parse_math=parse_math)
        canvas.draw()  # raises for a formula that is wrong
        drawn.append(bytes(canvas.buffer_rgba()))
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("cls", [ConvlensError, PhotoError])
def test_every_error_is_one_printable_line(cls):
    assert str(cls("photo a\nb\x1b[31m")) == r"photo a\nb\x1b[31m"
