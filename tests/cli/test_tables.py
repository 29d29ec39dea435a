"""Tables of commands: within 80 columns, with all cells and with whole names of layers."""

import io

import pytest
from rich.console import Console

from convlens.cli import terminal
from convlens.cli.tables import TextTable

LAYER, PATH = "blocks.6.0.conv_pwl", "photos/of/many/cats/in/many/folders/and/more/of/them/cat.jpg"


def draw(table: TextTable, width: int) -> list[str]:
    stream = io.StringIO()
    console = Console(file=stream, width=10_000)
    for part in table.fit(width):
        console.print(part, width=width)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def wide_table() -> TextTable:
    numbers = [f">number {each}" for each in range(12)]
    table = TextTable("layer", "kind", *numbers, "remarks")
    table.add_row(LAYER, "Conv2d", *(f"{each:,}" for each in range(10**6, 10**6 + 12)), "none")
    table.add_row("conv1", "Conv2d", *map(str, range(12)), "final convolutional layer " * 4)
    return table


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(width):
    assert max(map(len, draw(wide_table(), width))) <= width


def test_every_part_names_its_rows_and_no_number_is_folded():
    lines = draw(wide_table(), 80)
    parts = [line for line in lines if line.startswith("layer")]
    assert len(parts) > 1
    assert sum(line.startswith(LAYER) for line in lines) == len(parts)
    words = " ".join(lines).split()
    for number in range(10**6, 10**6 + 12):
        assert f"{number:,}" in words


def test_a_table_that_fits_is_one_part_in_its_own_width():
    table = TextTable("layer", ">channels")
    table.add_row("conv1", "64")
    assert draw(table, 80) == ["layer  channels", "conv1        64"]


def test_long_text_is_folded_without_loss():
    table = TextTable("photo", "prediction", ">probability")
    table.add_row(PATH, "a class with a long name " * 3, "0.5")
    lines = draw(table, 80)
    assert max(map(len, lines)) <= 80
    folded = "".join(line[:40].split("  ")[0].strip() for line in lines[1:])
    assert PATH in folded


def test_text_from_outside_is_escaped():
    table = TextTable("layer")
    table.add_row("\x1b[31m")
    assert draw(table, 80)[1] == "\\x1b[31m"


@pytest.mark.parametrize(("columns", "widest"), [(None, 80), ("200", 200)])
def test_the_width_is_that_of_the_terminal(columns, widest, monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    terminal.show(wide_table())
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert widest * 0.8 < max(map(len, lines)) <= widest
