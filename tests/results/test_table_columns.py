"""Tables in notebooks and folders leave out columns without text; CSV files keep them."""

from dataclasses import dataclass

from convlens.results import Result, Table


@dataclass(frozen=True, eq=False)
class Photos(Result):
    """Two photos without labels."""

    count: int

    def table(self):
        return Table.of(["photo", "label", "score"], [["a.png", "", "-1"], ["b.png", "", "2"]])


def test_columns_without_text_are_left_out():
    table = Photos(2).table().without_empty_columns()
    assert table.heads == ("photo", "score")
    assert table.rows == (("a.png", "−1"), ("b.png", "2")) and table.total == 2


def test_notebooks_and_folders_show_only_columns_with_text(tmp_path):
    Photos(2).save(tmp_path / "photos")
    index = (tmp_path / "photos" / "index.html").read_text("utf-8")
    for text in (Photos(2)._repr_html_(), index):
        assert ">score</th>" in text and ">label</th>" not in text
