"""The scripts of the gallery: their texts, and that they compute what the chapter shows."""

import re
import runpy

import pytest
from matplotlib.figure import Figure

from convlens.models.loading.demo_photos import demo_photos
from convlens.textbook.notion import Materials
from convlens.textbook.notions import NOTIONS, SECTIONS
from support.site import DOCS, extension

gallery = extension("chapter_gallery")
AT_WORK = sorted((DOCS / "gallery" / "at_work").glob("*.py"))
# Those that load, train and fit nothing, and so take no time.
CHEAP = [
    notion
    for notion in NOTIONS
    if not any(word in notion.python for word in ("load", "learn", "gabor"))
]
COSTLY = [notion for notion in NOTIONS if notion not in CHEAP]


@pytest.fixture
def run_script(tmp_path):
    def run(notion):
        script = tmp_path / "script.py"
        script.write_text(gallery.script_of(notion), encoding="utf-8")
        return runpy.run_path(str(script))

    return run


def test_a_script_for_each_figure_in_the_order_of_the_chapter(tmp_path):
    scripts = gallery.write_scripts(tmp_path / "chapter")
    names = [path.stem.partition("_")[2] for path in sorted(scripts)]
    assert names == [notion.name for notion in NOTIONS]
    headers = sorted((tmp_path / "chapter").glob("*/GALLERY_HEADER.rst"))
    headings = [header.read_text(encoding="utf-8").partition("\n")[0] for header in headers]
    assert headings == [f"{number} {title}" for number, title in SECTIONS.items()]


def test_scripts_that_have_not_changed_are_left_and_others_removed(tmp_path):
    scripts = gallery.write_scripts(tmp_path)
    scripts[0].write_text("changed", encoding="utf-8")
    foreign = scripts[1].with_name("99_former.py")
    foreign.write_text("", encoding="utf-8")
    before = scripts[1].stat().st_mtime_ns
    gallery.write_scripts(tmp_path)
    assert scripts[0].read_text(encoding="utf-8") == gallery.script_of(NOTIONS[0])
    assert scripts[1].stat().st_mtime_ns == before
    assert not foreign.exists()


@pytest.mark.parametrize("notion", NOTIONS, ids=lambda notion: notion.name)
def test_texts(notion):
    script = gallery.script_of(notion)
    assert notion.title in script
    assert notion.formula.strip("$") in script
    assert script.count(".. math::") == bool(notion.formula)
    plain = re.sub(r"\\([\\*`|_])", r"\1", " ".join(script.split())).replace("``", "")
    for paragraph in notion.text:
        assert paragraph in plain
    assert f"convlens {notion.command.split()[0]}" in script
    compile(script, notion.name, "exec")
    lines = [line for line in script.splitlines() if not line.startswith(("   ", "# The same"))]
    assert max(map(len, lines)) <= 88  # longer lines are cut off beside the site's navigation


@pytest.mark.parametrize("notion", CHEAP, ids=lambda notion: notion.name)
def test_scripts_compute_what_the_chapter_shows(notion, run_script, capsys):
    names = run_script(notion)
    materials = Materials({photo.path.stem: photo.path for photo in demo_photos()})
    assert names["result"] == notion.compute(materials)
    assert isinstance(names["figure"], Figure)
    assert capsys.readouterr().out == names["result"].summary() + "\n"


@pytest.mark.slow
@pytest.mark.parametrize("notion", COSTLY, ids=lambda notion: notion.name)
def test_scripts_with_a_network_make_a_figure(notion, run_script):
    assert isinstance(run_script(notion)["figure"], Figure)


@pytest.mark.slow
@pytest.mark.parametrize("path", AT_WORK, ids=lambda path: path.stem)
def test_scripts_at_work_make_a_figure(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert isinstance(runpy.run_path(str(path))["figure"], Figure)
    assert not list(tmp_path.iterdir())  # sphinx-gallery runs them in the sources
