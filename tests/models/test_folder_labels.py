"""Labels by the names of folders."""

import pytest
from torch import nn

from convlens import folder_labels, load, wrap

LABELS = ["tabby, tabby cat", "tiger cat", "missile", "projectile, missile", "crane", "crane"]


@pytest.fixture(scope="module")
def model():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, len(LABELS)))
    return wrap(network, size=8, labels=LABELS)


@pytest.mark.parametrize(
    ("folder", "classes"),
    [
        ("tabby", (0,)),
        ("Tabby Cat", (0,)),
        ("tiger_cat", (1,)),
        ("tiger-cat", (1,)),
        ("missile", (2,)),  # a whole name comes before a synonym
        ("projectile", (3,)),
        ("crane", None),  # two classes
        ("cat", None),
        ("1", None),  # an index is no name
        ("n02123045", None),  # not ImageNet's classes
    ],
)
def test_folders_give_the_class_of_their_name(folder, classes, model):
    assert folder_labels([f"photos/{folder}/1.jpg"], model) == [classes]


def test_only_the_folder_of_the_photo_counts(model):
    assert folder_labels(["tabby/photos/1.jpg", "tabby.jpg"], model) == [None, None]


def test_a_model_without_class_names(model):
    bare = wrap(model.network, size=8)
    assert folder_labels(["tabby/1.jpg"], bare) == [None]


def test_wordnet_numbers_name_the_classes_of_imagenet():
    model = load("timm:resnet10t@random")
    assert model.labels is None  # random weights have no classes
    from timm.data import ImageNetInfo

    imagenet = wrap(model.network, size=32, labels=list(ImageNetInfo().label_descriptions()))
    assert folder_labels(["val/n02123045/1.jpg", "val/n01440764/2.jpg"], imagenet) == [(281,), (0,)]


def test_labels_of_a_training_are_the_names_of_its_folders():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    digits = wrap(network, size=1, labels=["0", "1"])
    assert folder_labels(["test/1/a.png", "test/0/b.png"], digits) == [(1,), (0,)]
