"""Class names that are known before a model is loaded."""

import pytest
from timm.data import ImageNetInfo
from torch import nn

import convlens
from convlens.models.folder_labels import folder_labels, may_have_folder_labels
from convlens.models.loading.labels_of_spec import labels_of_spec


def test_the_names_of_the_default_model_are_those_of_timm():
    assert labels_of_spec("default") == tuple(ImageNetInfo().label_descriptions())


def test_names_of_other_specs(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("cow\nsheep\n")
    assert labels_of_spec("torchvision:resnet18", names) == ("cow", "sheep")
    assert labels_of_spec("timm:resnet18@random") == ()
    assert labels_of_spec("timm:resnet18") is None
    assert labels_of_spec("resnet18") is None


@pytest.mark.parametrize("folder", ["tabby", "Tiger_Cat", "tiger-cat", "n02123045", "dog", "."])
def test_folders_without_a_class_are_known_early(folder):
    labels = ("tabby, tabby cat", "tiger cat")
    photos = [f"{folder}/1.jpg"]
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
    model = convlens.wrap(network, size=8, labels=labels)
    early, late = may_have_folder_labels(photos, labels), folder_labels(photos, model)
    assert early == (late != [None] or folder == "n02123045")
    assert not may_have_folder_labels(["dog/1.jpg"], ())
