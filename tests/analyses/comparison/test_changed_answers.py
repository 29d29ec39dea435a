"""Photos whose answers changed: each kind is shown, by names that differ, with signed maps."""

import pytest
import torch
from PIL import Image
from torch import nn

import convlens
from convlens.analyses.comparison.side_by_side import explained_pairs
from support.compared_networks import changed, images, model


def mixed_answers():
    """Answers of which some are lost and some are gained, more than a table shows of each."""
    first, second = model(), model(changed(lambda module: module[8].weight.copy_(
        module[8].weight.roll(1, 0))))  # fmt: skip
    batch = images(80)
    answers = [each(batch).argmax(dim=1).tolist() for each in (first, second)]
    labels, lost = [], 0
    for number, (own, other) in enumerate(zip(*answers, strict=True)):
        is_lost = number < 60
        lost += is_lost and own != other
        labels.append((own if is_lost else other,))
    assert lost > 12
    return first, second, batch, labels


def test_each_kind_of_change_is_shown():
    first, second, batch, labels = mixed_answers()
    result = convlens.compare_answers(first, second, batch, labels=labels)
    assert len(result.of_kind("gained")) >= 6
    kinds = [row[1] for row in result.table().rows]
    assert kinds == ["lost"] * 6 + ["gained"] * 6
    assert result.table().total == result.same.total - result.same.count
    assert [pair.kind for pair in explained_pairs(result)] == ["lost"] * 2 + ["gained"] * 2
    surest = [pair.number for pair in result.of_kind("lost")[:6]]
    assert [pair.number for pair in result.select_changed(12)[:6]] == surest


def test_photos_of_one_name_are_told_apart(tmp_path):
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "photo.png")
        Image.effect_noise((24, 24), 90).convert("RGB").save(paths[-1])

    def answer(index):
        def set_bias(module):
            module[8].bias.copy_(1e4 * (torch.arange(5) == index))

        return model(changed(set_bias))

    result = convlens.diff(answer(0), answer(1), paths, parts=["gradcam"])
    assert sorted(row[0] for row in result.answers.table().rows) == ["a/photo.png", "b/photo.png"]
    assert "Grad-CAM" in result.pictures()


@pytest.mark.parametrize("negative", [True, False])
def test_the_map_of_a_negative_answer_supports_it(negative):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 1),
    )  # fmt: skip
    network[4].bias.data.fill_(-100.0 if negative else 100.0)
    other = nn.Sequential(*network[:4], nn.Linear(4, 1))
    other[4].weight.data.copy_(-network[4].weight)
    other[4].bias.data.fill_(100.0)
    batch = torch.rand(3, 3, 8, 8)
    model_a, model_b = (convlens.wrap(each, size=8, labels=["dog"]) for each in (network, other))
    result = convlens.diff(model_a, model_b, batch, parts=["gradcam"])
    cam = result.gradcams[0]
    numbers = [pair.number for pair in result.explained]
    expected = convlens.gradcam(model_a, batch[numbers], classes=0).maps
    torch.testing.assert_close(cam.maps, -expected if negative else expected)
    assert cam.names == (("not dog" if negative else "dog",),) * 3
    torch.testing.assert_close(
        cam.probabilities, torch.tensor([[pair.first_probability] for pair in result.explained])
    )
