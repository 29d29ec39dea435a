"""Reading labeled images: every form, and what is wrong with them."""

import gzip
import struct
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from convlens import ConvlensError, open_data
from convlens.training import LabeledImages
from convlens.training.data.dataset import split_validation

rng = np.random.default_rng(0)


def gray(count=12, height=5, width=4):
    return rng.integers(0, 256, (count, height, width), dtype=np.uint8)


def write_idx(path, array):
    content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape)
    content += array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_photo(path, size=(10, 8), mode="RGB", color=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = len(Image.new(mode, (1, 1)).getbands())
    shape = (size[1], size[0], bands) if bands > 1 else (size[1], size[0])
    pixels = rng.integers(0, 256, shape, dtype=np.uint8)
    if color is not None:
        pixels[:] = color
    Image.fromarray(pixels, mode=None).save(path)


@pytest.fixture
def folder(tmp_path):
    for label in ("cat", "dog"):
        for number in range(6):
            write_photo(tmp_path / "data" / label / f"{number}.png")
    return tmp_path / "data"


class TestIdx:
    @pytest.mark.parametrize("ending", ["", ".gz"])
    def test_pixels_and_labels_come_back(self, tmp_path, ending):
        train, test = gray(20), gray(7)
        answers = np.arange(20, dtype=np.uint8) % 3
        write_idx(tmp_path / f"train-images-idx3-ubyte{ending}", train)
        write_idx(tmp_path / f"train-labels-idx1-ubyte{ending}", answers)
        write_idx(tmp_path / f"t10k-images-idx3-ubyte{ending}", test)
        write_idx(tmp_path / f"t10k-labels-idx1-ubyte{ending}", answers[:7])
        (tmp_path / "classes.txt").write_text("zero\none\ntwo\n")
        data = open_data(tmp_path)
        assert np.array_equal(data.train.pixels[..., 0].numpy(), train)
        assert np.array_equal(data.validation.pixels[..., 0].numpy(), test)
        assert data.train.classes.tolist() == answers.tolist()
        assert data.labels == ("zero", "one", "two")
        assert (data.size, data.channels) == ((5, 4), 1)
        assert data.held_out == "the data's own test images"

    def test_training_images_alone_are_parted(self, tmp_path):
        write_idx(tmp_path / "train-images.idx3-ubyte", gray(20))
        write_idx(tmp_path / "train-labels.idx1-ubyte", np.arange(20, dtype=np.uint8) % 2)
        data = open_data(tmp_path, validation=0.2)
        assert (len(data.train), len(data.validation)) == (16, 4)
        assert torch.bincount(data.validation.classes).tolist() == [2, 2]

    def test_what_is_wrong(self, tmp_path):
        images, labels = (
            tmp_path / f"train-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")
        )
        write_idx(images, gray(20))
        with pytest.raises(ConvlensError, match="but not the labels"):
            open_data(tmp_path)
        write_idx(labels, np.arange(19, dtype=np.uint8) % 2)
        with pytest.raises(ConvlensError, match=r"20 images .* 19 labels"):
            open_data(tmp_path)
        labels.write_bytes(labels.read_bytes()[:-3])
        with pytest.raises(ConvlensError, match="should hold 19 bytes and holds 16"):
            open_data(tmp_path)
        labels.write_bytes(b"not idx")
        with pytest.raises(ConvlensError, match="no IDX file"):
            open_data(tmp_path)
        labels.unlink()
        broken = gzip.compress(bytes(1000))[:-9]
        (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(broken)
        with pytest.raises(ConvlensError, match="cannot be read"):
            open_data(tmp_path)


class TestArchive:
    @pytest.mark.parametrize(
        "names",
        [
            ("x_train", "y_train", "x_test", "y_test"),
            ("train_images", "train_labels", "test_images", "test_labels"),
        ],
    )
    def test_parts_by_name(self, tmp_path, names):
        arrays = (gray(8), np.arange(8) % 2, gray(4), np.arange(4)[:, None] % 2)
        np.savez(tmp_path / "d.npz", **dict(zip(names, arrays, strict=True)))
        data = open_data(tmp_path / "d.npz")
        assert np.array_equal(data.train.pixels[..., 0].numpy(), arrays[0])
        assert data.validation.classes.tolist() == [0, 1, 0, 1]

    def test_layouts_and_types(self, tmp_path):
        color = rng.integers(0, 256, (10, 6, 7, 3), dtype=np.uint8)
        forms = (
            color,
            color.transpose(0, 3, 1, 2),
            color.astype(np.float32) / 255,
            color.astype(int),
        )
        for images in forms:
            np.savez(tmp_path / "d.npz", images=images, labels=np.arange(10.0) % 2)
            data = open_data(tmp_path / "d.npz")
            together = torch.cat([data.train.pixels, data.validation.pixels])
            assert sorted(map(bytes, together.numpy())) == sorted(map(bytes, color))
            assert data.channels == 3

    @pytest.mark.parametrize(
        ("arrays", "words"),
        [
            ({"pictures": gray()}, "call the arrays images and labels"),
            ({"images": gray(), "labels": np.arange(11)}, "one class for each"),
            ({"images": gray(), "labels": np.arange(12) - 1}, "count from 0"),
            ({"images": gray(), "labels": np.arange(12) / 7}, "whole numbers"),
            ({"images": gray() - 300.0, "labels": np.arange(12) % 2}, "values of -"),
            ({"images": gray()[0], "labels": np.arange(5) % 2}, r"has shape \(5, 4\)"),
            ({"images": np.array([{}, {}]), "labels": np.arange(2)}, "Python objects"),
            ({"images": gray(), "labels": np.arange(12) * 100}, "number the classes from 0"),
            ({"images": gray(), "labels": np.zeros(12, int)}, "of one class"),
        ],
    )
    def test_what_is_wrong(self, tmp_path, arrays, words):
        np.savez(tmp_path / "d.npz", **arrays)
        with pytest.raises(ConvlensError, match=words) as caught:
            open_data(tmp_path / "d.npz")
        assert "\n" not in str(caught.value)

    def test_damaged(self, tmp_path):
        np.savez(tmp_path / "d.npz", images=gray(), labels=np.arange(12) % 2)
        whole = (tmp_path / "d.npz").read_bytes()
        (tmp_path / "d.npz").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ConvlensError, match="cannot be read"):
            open_data(tmp_path / "d.npz")

    def test_names_that_do_not_suffice(self, tmp_path):
        np.savez(tmp_path / "d.npz", images=gray(), labels=np.arange(12) % 3)
        (tmp_path / "labels.txt").write_text("one\ntwo\n")
        with pytest.raises(ConvlensError, match="names 2 classes and the labels go up to 2"):
            open_data(tmp_path / "d.npz")


class TestFolder:
    def test_classes_are_folders(self, folder):
        data = open_data(folder, validation=0.34)
        assert data.labels == ("cat", "dog")
        assert (data.size, data.channels) == ((8, 10), 3)
        assert (len(data.train), len(data.validation)) == (8, 4)
        known = {
            np.asarray(Image.open(path)).tobytes(): ("cat", "dog").index(path.parent.name)
            for path in folder.rglob("*.png")
        }
        for images in (data.train, data.validation):
            for pixels, answer in zip(images.pixels, images.classes, strict=True):
                assert known.pop(pixels.numpy().tobytes()) == answer
        assert not known

    def test_its_own_parts(self, folder, tmp_path):
        for part_of in ("train", "val"):
            for label, color in (("cat", 10), ("dog", 20)):
                path = tmp_path / "parted" / part_of / label / "1.png"
                write_photo(path, color=color + (part_of == "val"))
        data = open_data(tmp_path / "parted")
        assert data.train.pixels[:, 0, 0, 0].tolist() == [10, 20]
        assert data.validation.pixels[:, 0, 0, 0].tolist() == [11, 21]

    def test_a_class_may_be_called_train(self, folder):
        for number in range(3):
            write_photo(folder / "train" / f"{number}.png")
        assert open_data(folder).labels == ("cat", "dog", "train")
        (folder / "train" / "more").mkdir()
        assert open_data(folder).labels == ("cat", "dog", "train")

    def test_sizes_and_modes_mixed(self, folder):
        write_photo(folder / "cat" / "large.png", (300, 200))
        write_photo(folder / "dog" / "gray.png", (50, 90), mode="L")
        write_photo(folder / "dog" / "clear.png", (9, 9), mode="RGBA")
        data = open_data(folder)
        assert (data.size, data.channels) == ((64, 64), 3)
        assert data.preprocessing.resize == 64
        assert open_data(folder, size=(20, 30)).size == (20, 30)
        assert open_data(folder, size=20).size == (20, 20)

    def test_all_gray_stays_gray(self, tmp_path):
        for label in "ab":
            for number in range(2):
                write_photo(tmp_path / label / f"{number}.png", mode="L")
        assert open_data(tmp_path).channels == 1

    def test_a_photo_is_fed_later_as_it_was_in_training(self, folder):
        """The pixels that training sees are those that the model's preprocessing gives."""
        write_photo(folder / "cat" / "large.png", (300, 200))
        data = open_data(folder)
        picture = Image.open(folder / "cat" / "large.png").convert("RGB")
        applied = np.asarray(data.preprocessing.apply(picture))
        every = torch.cat([data.train.pixels, data.validation.pixels]).numpy()
        assert any(np.array_equal(applied, image) for image in every)

    def test_damaged_files_are_named_and_left_out(self, folder):
        (folder / "cat" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        (folder / "dog" / "empty.jpg").touch()
        data = open_data(folder)
        assert len(data.train) + len(data.validation) == 12
        assert [photo.path.name for photo in data.skipped] == ["bad.png", "empty.jpg"]
        with pytest.raises(ConvlensError, match=r"bad\.png"):
            open_data(folder, strict=True)

    def test_one_image_of_a_class(self, folder):
        write_photo(folder / "rare" / "1.png")
        data = open_data(folder)
        assert data.notes == ("one image only of 'rare': trained on, but not validated",)
        assert 2 in data.train.classes.tolist()
        assert 2 not in data.validation.classes.tolist()

    def test_what_is_wrong(self, folder, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(ConvlensError, match="holds no folders"):
            open_data(tmp_path / "empty")
        (tmp_path / "empty" / "cat").mkdir()
        with pytest.raises(ConvlensError, match="no photos in the folders cat"):
            open_data(tmp_path / "empty")
        with pytest.raises(ConvlensError, match=r"all 12 images of .* are of one class, 'data'"):
            open_data(tmp_path)
        with pytest.raises(ConvlensError, match="no data"):
            open_data(tmp_path / "nowhere")
        write_photo(tmp_path / "p" / "train" / "cat" / "1.png")
        write_photo(tmp_path / "p" / "val" / "cow" / "1.png")
        with pytest.raises(ConvlensError, match="holds the class 'cow'"):
            open_data(tmp_path / "p")
        with pytest.raises(ConvlensError, match="validation share of 1"):
            open_data(folder, validation=1)

    def test_more_pixels_than_memory(self, folder, monkeypatch):
        module = sys.modules["convlens.training.data.dataset"]
        monkeypatch.setattr(module, "available_memory", lambda: 2**20)
        with pytest.raises(ConvlensError, match=r"GiB as pixels .* --stream, or a smaller --size"):
            open_data(folder, size=(1000, 1000), stream=False)


class TestNamed:
    def test_digits(self):
        from sklearn.datasets import load_digits

        data = open_data("digits")
        assert len(data.train) + len(data.validation) == 1797
        assert (data.size, data.channels, data.labels) == ((8, 8), 1, tuple("0123456789"))
        expected = load_digits().images.sum()
        total = sum(part.pixels.double().sum() for part in (data.train, data.validation)) * 16 / 255
        assert total == pytest.approx(expected, rel=1e-3)

    def test_torchvision(self, monkeypatch, tmp_path):
        """A data set as torchvision makes them, with its own test images and names."""
        from torchvision import datasets

        class Toy(datasets.VisionDataset):
            classes = ("red", "blue")

            def __init__(self, root, train=True, download=False):
                self.train, self.asked = train, (root, download)

            def __len__(self):
                return 6 if self.train else 4

            def __getitem__(self, index):
                assert self.asked == (tmp_path, True)
                return Image.new("RGB", (7, 5), ("red", "blue")[index % 2]), index % 2

        monkeypatch.setattr(datasets, "FakeData", Toy)
        data = open_data(f"torchvision:fakedata@{tmp_path}")
        assert (data.labels, data.size, data.channels) == (("red", "blue"), (5, 7), 3)
        assert (len(data.train), len(data.validation)) == (6, 4)
        assert data.train.pixels[1, 0, 0].tolist() == [0, 0, 255]

    def test_unknown(self):
        with pytest.raises(ConvlensError, match="no data set 'CIFAR11'; nearest: CIFAR10"):
            open_data("torchvision:CIFAR11")


def test_parts_do_not_overlap_and_depend_on_the_seed():
    images = LabeledImages(
        torch.arange(100, dtype=torch.uint8).view(100, 1, 1, 1), torch.arange(100) % 4
    )
    train_part, held = split_validation(images, "abcd", 0.2, seed=0)
    assert sorted([*train_part.pixels.flatten().tolist(), *held.pixels.flatten().tolist()]) == list(
        range(100)
    )
    assert torch.bincount(held.classes).tolist() == [5, 5, 5, 5]
    again, other = (
        split_validation(images, "abcd", 0.2, seed=0)[1],
        split_validation(images, "abcd", 0.2, seed=1)[1],
    )
    assert torch.equal(held.pixels, again.pixels)
    assert not torch.equal(held.pixels, other.pixels)


def test_fingerprint_knows_pixels_labels_and_order(folder):
    data = open_data(folder)
    assert data.fingerprint == open_data(folder).fingerprint
    write_photo(folder / "cat" / "0.png")
    assert data.fingerprint != open_data(folder).fingerprint
