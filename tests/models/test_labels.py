"""Class names, and the labels of photos."""

import pytest

from convlens.errors import ConvlensError
from convlens.models.label_tables import match_labels, read_labels
from convlens.models.labels import class_name, find_class

LABELS = ("tench, Tinca tinca", "tabby, tabby cat", "crane", "tiger cat", "crane")


class TestClassIndex:
    @pytest.mark.parametrize(
        ("text", "index"),
        [
            (3, 3),
            ("3", 3),
            (" 3 ", 3),
            ("Tabby", 1),
            ("tabby cat", 1),
            ("tabby, tabby cat", 1),
            ("TINCA TINCA", 0),
            ("tiger cat", 3),
        ],
    )
    def test_found(self, text, index):
        assert find_class(LABELS, text, 5) == index

    @pytest.mark.parametrize("text", [5, -1, "5", "-1"])
    def test_out_of_range(self, text):
        with pytest.raises(ConvlensError, match=r"class -?\d of 5; give an index of 0 to 4"):
            find_class(LABELS, text, 5)

    def test_unknown(self):
        with pytest.raises(ConvlensError, match="'taby'; nearest: tabby"):
            find_class(LABELS, "taby", 5)
        with pytest.raises(ConvlensError, match=r"unknown class 'cat'; nearest: .*cat"):
            find_class(LABELS, "cat", 5)  # part of a name is not the name
        with pytest.raises(ConvlensError, match="a name or an index of 0 to 4"):
            find_class(LABELS, "§§§", 5)

    def test_ambiguous(self):
        with pytest.raises(ConvlensError, match="classes 2, 4"):
            find_class(LABELS, "crane", 5)

    def test_without_labels(self):
        assert find_class(None, "7", 10) == 7
        with pytest.raises(ConvlensError, match="no labels; give an index of 0 to 9"):
            find_class(None, "tabby", 10)

    def test_names_that_are_digits(self):
        assert find_class(("1", "2"), "1", 2) == 0
        assert find_class(("1", "2"), 1, 2) == 1


def test_classes_without_a_label_are_named_by_their_index():
    assert [class_name(LABELS, index) for index in (0, 2, 9)] == ["tench", "crane", "class 9"]
    assert class_name(None, 17) == "class 17"


class TestReadLabels:
    def read(self, tmp_path, text, labels=LABELS):
        path = tmp_path / "labels.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_labels(path, labels, 5)

    def test_names_and_indices(self, tmp_path):
        text = 'File,Class\nfolder/a.jpg,tabby\nb.jpg, 2 | tiger cat\n\nc.jpg,"tabby, tabby cat"\n'
        assert self.read(tmp_path, text) == {
            "folder/a.jpg": (1,), "b.jpg": (2, 3), "c.jpg": (1,),
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("header", "index"),
        [
            ("image,x,label", 3),
            ("photo,class,index", 1),
            ("path,name,index", 3),
            ("file,a,name", 3),
        ],
    )
    def test_the_column_that_counts(self, tmp_path, header, index):
        assert self.read(tmp_path, f"{header}\na.jpg,1,3\n") == {"a.jpg": (index,)}

    def test_a_byte_order_mark_is_no_part_of_the_header(self, tmp_path):
        assert self.read(tmp_path, b"\xef\xbb\xbffile,class\r\na.jpg,1\r\n") == {"a.jpg": (1,)}

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "line 1: no column file or filename"),
            ("file,kind\n", "line 1: no column class or label or index or name among"),
            ("file,class\na.jpg,1\nb.jpg,taby\n", "line 3: unknown class 'taby'; nearest: tabby"),
            ("file,class\na.jpg,5\n", "line 2: class 5 of 5"),
            ("file,class\na.jpg,1|\n", "line 2: unknown class ''"),
            ("file,class\na.jpg\n", "line 2: a file or its class is missing"),
            ("file,class\n,1\n", "line 2: a file or its class is missing"),
            ("file,class\nx/a.jpg,1\nx//a.jpg,2\n", "line 3: x/a.jpg stands further up"),
            (b"file,class\n\xff\xfe,1\n", "is not CSV in UTF-8"),
        ],
    )
    def test_errors_name_file_and_line(self, tmp_path, text, words):
        with pytest.raises(ConvlensError, match=words) as caught:
            self.read(tmp_path, text)
        assert "labels.csv" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_no_such_file(self, tmp_path):
        with pytest.raises(ConvlensError, match=r"cannot read .*x\.csv .No such file"):
            read_labels(tmp_path / "x.csv", None, 5)


def test_photos_find_their_labels_by_the_end_of_their_path(tmp_path):
    table = {"a.jpg": (1,), "b.jpg": (2, 3)}
    assert match_labels([tmp_path / "b.jpg", "c.jpg", "x/a.jpg"], table) == [(2, 3), None, (1,)]


def test_paths_from_the_folder_of_the_file_and_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lists").mkdir()
    photos = [tmp_path / "odd" / name / "same.jpg" for name in "abcd"]
    for photo in photos:
        photo.parent.mkdir(parents=True)
        photo.touch()
    lines = ["file,class", "a/same.jpg,0", "odd/b/same.jpg,1", "../odd/c/same.jpg,2",
             f"{photos[3]},3"]  # fmt: skip
    (tmp_path / "lists" / "labels.csv").write_text("\n".join(lines))
    table = read_labels(tmp_path / "lists" / "labels.csv", None, 5)
    assert match_labels(photos, table) == [(0,), (1,), (2,), (3,)]
    assert match_labels([photo.relative_to(tmp_path) for photo in photos], table) == [
        (0,), (1,), (2,), (3,),
    ]  # fmt: skip


def test_one_entry_is_not_the_label_of_two_photos(tmp_path):
    with pytest.raises(ConvlensError, match=r"'same.jpg' is the name of .*a/same.jpg and of"):
        match_labels([tmp_path / "a" / "same.jpg", tmp_path / "b" / "same.jpg"], {"same.jpg": (1,)})


def test_the_name_of_a_class_without_a_label_is_taken_back():
    assert find_class(None, class_name(None, 7), 10) == 7
    assert find_class(("class 1", "b"), "class 1", 2) == 0  # a name goes first
    with pytest.raises(ConvlensError, match="class 12 of 10"):
        find_class(None, "class 12", 10)


@pytest.mark.parametrize("text", [None, 1.5, ["cat"]])
def test_what_is_no_class(text):
    with pytest.raises(ConvlensError, match="give a name or an index of 0 to 4"):
        find_class(LABELS, text, 5)


def test_words_and_parts_of_names_are_nearest():
    labels = ("crate", "coast", "vat", "tiger cat", "Persian cat", "catalogue")
    with pytest.raises(ConvlensError, match=r"nearest: tiger cat, Persian cat, catalogue$"):
        find_class(labels, "cat", 6)
