"""Causes of errors: injected faults are named, and the evidence equals that of plain loops."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convlens
from convlens import PassOptions
from convlens.analyses.error_analysis.causes import (
    BACKGROUND,
    CROPPED,
    LABEL,
    OVERLAP,
    PREPROCESSING,
    do_overlap,
)
from convlens.analyses.error_analysis.evidence import UNEXPLAINED
from convlens.analyses.error_analysis.neighbors import find_feature_node
from convlens.analyses.gradcam.boxes import ObjectBox

SIZE = 16


def explained(result):
    return {cause.name: cause.explained.count for cause in result.causes.causes}


class Colors(nn.Module):
    """Predicts which of red, green and blue is strongest on average."""

    def __init__(self, *, reverse=False):
        super().__init__()
        self.stem = nn.Conv2d(3, 3, 1, bias=False)
        eye = torch.eye(3).flip(1) if reverse else torch.eye(3)
        self.stem.weight.data.copy_(20 * eye[:, :, None, None])
        self.head = nn.Linear(3, 3, bias=False)
        self.head.weight.data.copy_(torch.eye(3))

    def forward(self, x):
        return self.head(self.stem(x).relu().mean((2, 3)))


def colored(count, seed=0):
    """Noise in which one color is stronger, and the number of this color."""
    generator = torch.Generator().manual_seed(seed)
    batch = torch.rand(count, 3, SIZE, SIZE, generator=generator) * 0.4
    kinds = torch.arange(count) % 3
    strength = 0.1 + 0.3 * torch.rand(count, generator=generator)
    batch[torch.arange(count), kinds] += strength[:, None, None]
    return batch, [(int(kind),) for kind in kinds]


def test_channels_in_the_wrong_order_are_named():
    batch, right = colored(36)
    model = convlens.wrap(Colors(reverse=True), size=SIZE)
    result = convlens.error_analysis(model, batch, right)
    assert result.accuracy.count == 12  # green stays where it is
    assert result.causes.diagnosis.verdict == "mistake"
    assert explained(result)[PREPROCESSING] == result.errors == 24
    assert all(each.causes[0] == PREPROCESSING for each in result.causes.evidence)
    healthy = convlens.error_analysis(convlens.wrap(Colors(), size=SIZE), batch, right)
    assert healthy.accuracy.count == 36
    assert healthy.causes is None


def test_a_wrong_label_is_named_and_similar_photos_are_of_the_predicted_class():
    batch, right = colored(36)
    right[4] = (2,)  # it is green, as 1 is
    result = convlens.error_analysis(convlens.wrap(Colors(), size=SIZE), batch, right)
    (error,) = result.wrong
    evidence = result.evidence_of(4)
    assert (error.label, error.prediction) == (2, 1)
    assert evidence.causes[0] == LABEL
    assert explained(result)[LABEL] == 1
    assert all(right[number] == (1,) for number in evidence.similar_wrong)
    assert all(right[number] == (2,) for number in evidence.similar_right)
    assert 4 not in evidence.similar_right
    assert min(evidence.wrong_similarities) > max(evidence.right_similarities)
    assert evidence.channels[0].channel == 1  # the green one


def test_objects_that_the_crop_cuts_off_are_named(tmp_path):
    class Bright(nn.Module):
        """Class 1 where any pixel is bright."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 1, 1)

        def forward(self, x):
            brightest = self.conv(x).relu().amax((2, 3))
            return torch.cat([torch.full_like(brightest, 1.5), brightest], dim=1)

    network = Bright()
    network.conv.weight.data.fill_(1.0)
    network.conv.bias.data.zero_()
    model = convlens.wrap(network, size=SIZE, resize=24)
    paths, right = [], []
    for number in range(24):
        pixels = np.full((24, 24, 3), number % 8, np.uint8)
        if number % 3:  # two thirds have an object, half of these at the edge of the photo
            where = slice(0, 3) if number % 3 == 1 else slice(10, 14)
            pixels[where, where] = 255
        paths.append(tmp_path / f"{number:02d}.png")
        Image.fromarray(pixels).save(paths[-1])
        right.append((int(number % 3 > 0),))
    result = convlens.error_analysis(model, paths, right)
    assert [error.number for error in sorted(result.wrong, key=lambda e: e.number)] == [
        number for number in range(24) if number % 3 == 1
    ]
    assert explained(result)[CROPPED] == 8
    (cause,) = [cause for cause in result.causes.causes if cause.name == CROPPED]
    assert cause.supported
    assert cause.control.count == 0
    assert result.causes.layer


@pytest.mark.parametrize(("left", "named"), [(8, True), (0, False)])
def test_evidence_outside_of_the_boxes_is_background(tmp_path, left, named):
    pixels = np.full((SIZE, SIZE, 3), 90, np.uint8)
    pixels[:, :8] = (200, 90, 90)  # red on the left
    Image.fromarray(pixels).save(tmp_path / "red.png")
    boxes = {"red.png": (ObjectBox((1,), left, 0, left + 8, SIZE),)}
    model = convlens.wrap(Colors(), size=SIZE)
    result = convlens.error_analysis(model, [tmp_path / "red.png"], [(1,)], boxes=boxes)
    (evidence,) = result.causes.evidence
    assert evidence.evidence_outside == pytest.approx(float(named), abs=0.15)
    assert (BACKGROUND in evidence.causes) == named


def test_a_change_that_affects_right_predictions_as_often_explains_nothing():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 4))
    model = convlens.wrap(network, size=SIZE)
    batch = torch.rand(40, 3, SIZE, SIZE, generator=generator)
    right = [(int(kind),) for kind in torch.randint(0, 4, (40,), generator=generator)]
    result = convlens.error_analysis(model, batch, right)
    assert result.errors > 15
    for cause in result.causes.causes:
        if not cause.supported:
            assert cause.explained.count == 0
    assert sum(explained(result).values()) == result.causes.examined
    assert explained(result)[UNEXPLAINED] >= result.causes.examined - 2
    assert not result.causes.layer
    assert "no final convolutional layer" in result.causes.maps_failure


def test_without_right_predictions_nothing_that_needs_them_is_explained():
    batch, right = colored(12)
    wrong = [((classes[0] + 1) % 3,) for classes in right]
    result = convlens.error_analysis(convlens.wrap(Colors(), size=SIZE), batch, wrong)
    assert result.accuracy.count == 0
    assert sum(explained(result).values()) == 12
    for cause in result.causes.causes:
        if cause.control is not None:
            assert cause.explained.count == 0


def test_overlapping_classes():
    confusion = torch.zeros(6, 6, dtype=torch.int32)
    confusion[0, 1], confusion[1, 0], confusion[0, 2] = 6, 4, 1
    assert do_overlap(confusion, 0, 1)
    assert do_overlap(confusion, 1, 0)
    assert not do_overlap(confusion, 0, 2)
    even = torch.full((6, 6), 3) - torch.diag(torch.full((6,), 3))
    assert not do_overlap(even, 0, 1)
    assert not do_overlap(None, 0, 1)
    assert not do_overlap(torch.full((2, 2), 9), 0, 1)  # there is no other pair


def test_many_confusions_of_two_classes_are_explained_by_their_overlap():
    batch, right = colored(40)
    mixed = [(1 - classes[0],) if classes[0] < 2 else classes for classes in right]
    result = convlens.error_analysis(
        convlens.wrap(Colors(), size=SIZE), batch, [*right[:20], *mixed[20:]]
    )
    assert all(OVERLAP in each.causes for each in result.causes.evidence)


@pytest.mark.parametrize("outputs", [3, 1])
def test_maps_are_those_of_the_difference_of_two_classes(outputs):
    network = Colors() if outputs == 3 else nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 1),
    )  # fmt: skip
    model = convlens.wrap(network, size=SIZE)
    batch, right = colored(9)
    if outputs == 1:
        predicted = convlens.predict(model, batch).classes[:, 0].tolist()
        right = [(-1 - kind if number < 3 else kind,) for number, kind in enumerate(predicted)]
    else:
        right[:3] = [(1,), (2,), (0,)]
    result = convlens.error_analysis(model, batch, right)
    assert len(result.causes.evidence) == 3
    for row, evidence in enumerate(result.causes.evidence):
        (error,) = [error for error in result.wrong if error.number == evidence.number]
        images = batch[error.number : error.number + 1]
        if outputs == 3:
            pair = torch.tensor([[[error.label, error.prediction]]])
            expected = convlens.gradcam(model, images, classes=pair).maps[0, 0]
        else:
            sign = 1 if error.label == 0 else -1
            expected = sign * convlens.gradcam(model, images, classes=0).maps[0, 0]
        torch.testing.assert_close(result.causes.maps[row], expected, atol=1e-5, rtol=1e-4)


def test_similar_photos_are_those_of_a_plain_search():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)
    )
    model = convlens.wrap(network, size=SIZE)
    batch, right = colored(30)
    trace = convlens.trace(model)
    assert trace.shape(find_feature_node(trace))[1:] == (5,)
    with torch.no_grad():
        features = network[:4](batch).numpy()
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    result = convlens.error_analysis(model, batch, right, pass_options=PassOptions(batch_size=7))
    assert result.causes.evidence
    for evidence in result.causes.evidence:
        (error,) = [error for error in result.wrong if error.number == evidence.number]
        for kind, numbers, similarities in (
            (error.label, evidence.similar_right, evidence.right_similarities),
            (error.prediction, evidence.similar_wrong, evidence.wrong_similarities),
        ):
            members = [n for n in range(30) if right[n] == (kind,) and n != error.number]
            nearness = {n: float(features[n] @ features[error.number]) for n in members}
            best = sorted(nearness.values(), reverse=True)[:3]
            assert list(similarities) == pytest.approx(best, abs=1e-5)
            assert [nearness[n] for n in numbers] == pytest.approx(best, abs=1e-5)


def test_examine_zero_leaves_causes_out_and_a_saved_result_loads(tmp_path):
    batch, right = colored(12)
    right[0] = (1,)
    model = convlens.wrap(Colors(), size=SIZE)
    assert convlens.error_analysis(model, batch, right, examine=0).causes is None
    result = convlens.error_analysis(model, batch, right)
    result.save(tmp_path / "errors")
    assert convlens.Result.load(tmp_path / "errors") == result
    again = convlens.error_analysis(model, batch, right, pass_options=PassOptions())
    assert again == result
