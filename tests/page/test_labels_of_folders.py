"""Copied commands use no labels that the page did not use."""

import torch
from torch import nn

from convlens import wrap
from convlens.page.reproduction import Reproducer


def command(words):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
    model = wrap(network, size=8, labels=["cat", "dog"])
    object.__setattr__(model, "spec", "nets.py:make")
    return Reproducer(model, 0, 2).command("part", words)


def test_folders_of_unlabeled_photos_are_no_labels():
    assert "--no-labels" in command(["fgsm", "photos/cat/1.jpg"])
    assert "--no-labels" in command(["doctor", "photos/1.jpg", "photos/dog/2.jpg"])


def test_other_commands_stay_as_they_are():
    assert "--no-labels" not in command(["fgsm", "photos/1.jpg"])
    assert "--no-labels" not in command(["gradcam", "photos/cat/1.jpg"])
    assert "--no-labels" not in command(["fgsm", "photos/cat/1.jpg", "--labels", "labels.csv"])
