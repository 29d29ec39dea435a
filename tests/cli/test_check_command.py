"""The exit statuses and files of the check command."""

import json
from xml.etree import ElementTree

import pytest

from support.color_photos import CLASSES, SPEC, save_photo, write_network
from support.command_line import one_line

pytest_plugins = "support.command_line"


@pytest.fixture
def colors(here):
    write_network(here, gain=300)
    for number in range(24):
        save_photo(here / "photos" / CLASSES[number % 3] / f"{number}.png", number, step=1)
    return here


WORDS = ("check", "photos", "--model", SPEC)


def test_exit_status_0_and_1(colors, convlens):
    status, out, _ = convlens(*WORDS, "--accuracy", "0.9", "--junit", "fine.xml")
    assert status == 0, out
    assert "accuracy: 24 of 24" in out
    assert ElementTree.parse(colors / "fine.xml").getroot().attrib["failures"] == "0"
    rows = [f"{number}.png,{('green', 'blue', 'red')[number % 3]}" for number in range(24)]
    (colors / "labels.csv").write_text("\n".join(["file,class", *rows]))
    (colors / "limits.toml").write_text("accuracy = 0.9\n")
    words = (*WORDS, "--labels", "labels.csv", "--thresholds", "limits.toml", "--json")
    status, out, _ = convlens(*words, "--junit", "broken.xml")
    assert status == 1
    numbers = json.loads(out)
    broken = {finding["name"] for finding in numbers["findings"] if finding["status"] == "broken"}
    assert {"accuracy", "label order"} <= broken
    failures = ElementTree.parse(colors / "broken.xml").getroot().findall(".//failure")
    assert len(failures) == len(broken)


def test_what_cannot_run_ends_in_status_2_and_one_line(colors, convlens):
    for words, says in (
        ((*WORDS, "--no-labels", "--accuracy", "0.5"), "a limit on accuracy needs labels"),
        ((*WORDS, "--accuracy", "70"), "--accuracy"),
        ((*WORDS, "--thresholds", "none.toml"), "cannot read none.toml"),
        ((*WORDS, "--against", "none.pt"), "none.pt"),
        (("check", "nothing", *WORDS[2:]), "nothing"),
    ):
        status, out, err = convlens(*words)
        assert status == 2, (words, out, err)
        assert says in one_line((status, out, err))


def test_a_folder_is_written_only_where_one_is_named(colors, convlens):
    before = {"__pycache__", *(path.name for path in colors.iterdir())}
    assert convlens(*WORDS, "--quiet")[0] == 0
    assert {path.name for path in colors.iterdir()} <= before
    status, out, _ = convlens(*WORDS, "--out", "out")
    assert status == 0
    assert "out/index.html" in out
    findings = json.loads((colors / "out" / "numbers.json").read_text())["findings"]
    assert {finding["name"] for finding in findings} >= {"preprocessing", "label order"}
    assert "give --overwrite" in one_line(convlens(*WORDS, "--out", "out"))
    assert convlens(*WORDS, "--out", "out", "--overwrite")[0] == 0
    assert "name it by --out" in one_line(convlens(*WORDS, "--resume"))


def test_parquet_files_give_the_same_findings(colors, convlens):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    paths = sorted(colors.glob("photos/*/*.png"))
    table = pyarrow.table({
        "image": [{"bytes": path.read_bytes(), "path": path.name} for path in paths],
    })  # fmt: skip
    parquet.write_table(table, colors / "photos.parquet")
    rows = [f"{path.name},{path.parent.name}" for path in paths]
    (colors / "labels.csv").write_text("\n".join(["file,class", *rows]))
    outputs = [
        convlens("check", source, *WORDS[2:], "--labels", "labels.csv", "--json")
        for source in ("photos", "photos.parquet")
    ]
    assert [status for status, _, _ in outputs] == [0, 0], outputs
    assert json.loads(outputs[0][1])["findings"] == json.loads(outputs[1][1])["findings"]
