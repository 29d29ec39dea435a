"""The result of a training: accuracy by class, its figure, and what the run folder keeps of it."""

from dataclasses import replace

import pytest
import torch

import convlens
from convlens import open_data, read_training
from convlens.errors import ConvlensError
from convlens.models.loading.run_folder import CURVES
from convlens.models.loading.run_photos import find_run_photos, read_run_labels
from support.trained_runs import RECIPE

pytest_plugins = "support.trained_runs"


@pytest.mark.parametrize("checkpoint", ["best", "last"])
def test_classes_are_counted_as_the_network_predicts_them(trained, archive, checkpoint):
    out, result, _ = trained
    data = open_data(archive)
    with torch.no_grad():
        images = data.validation.pixels.movedim(3, 1).float() / 255
        predicted = convlens.load(f"{out}@{checkpoint}")(images).argmax(1)
    for index, share in enumerate(result.class_accuracies(checkpoint)):
        members = data.validation.classes == index
        assert share.total == int(members.sum())
        assert share.count == int((predicted[members] == index).sum())
    assert result.correct(checkpoint).count == sum(
        share.count for share in result.class_accuracies(checkpoint)
    )


def test_the_best_counts_are_those_of_the_best_epoch(archive, tmp_path):
    # At this rate the accuracy goes up and down.
    recipe = RECIPE | {"epochs": 6, "learning_rate": 0.3}
    result = convlens.train(archive, out=tmp_path / "run", **recipe)
    accuracies = [row["validation_accuracy"] for row in result.history]
    assert sum(result.best_class_correct) / result.validated == max(accuracies)
    assert sum(result.class_correct) / result.validated == accuracies[-1]


def test_a_run_folder_is_read_as_the_result(trained, tmp_path):
    out, result, _ = trained
    assert read_training(out) == result
    with pytest.raises(ConvlensError, match="holds no convlens checkpoint"):
        read_training(tmp_path)


def test_the_curves_are_drawn(trained):
    out, result, _ = trained
    assert (out / CURVES).stat().st_size > 5000
    loss, accuracy, classes = result.figure().axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in loss.lines}
    assert drawn["training"] == [row["loss"] for row in result.history]
    assert drawn["validation"] == [row["validation_loss"] for row in result.history]
    assert list(accuracy.lines[0].get_ydata()) == [
        row["validation_accuracy"] for row in result.history
    ]
    assert [label.get_text() for label in classes.get_yticklabels()] == [
        result.labels[index] for index in result.weakest_classes("best")
    ]


def test_the_weakest_class_comes_first(trained):
    result = replace(
        trained[1], labels=("a", "b", "c", "d"), class_images=(10, 10, 0, 20),
        class_correct=(9, 3, 0, 18), best_class_correct=(10, 10, 0, 20),
    )  # fmt: skip
    assert result.weakest_classes() == [1, 3, 0]


def test_photos_of_the_run_are_validation_images_with_their_classes(trained, archive):
    out, _, _ = trained
    paths, classes = find_run_photos(out), read_run_labels(out, ("0", "1"))
    data = open_data(archive)
    assert len(paths) == len(data.validation) == 20
    model = convlens.load(out)
    pixels = data.validation.pixels.movedim(3, 1).float() / 255
    for path in paths:
        number = int(path.stem.rpartition("-")[2])
        assert torch.equal(model.prepare(path)[0], pixels[number])
        assert classes[path.name] == (int(data.validation.classes[number]),)
