"""`attack_photos`: each photo's results are those of the single calls, and memory holds numbers."""

import json

import pytest
import torch
from PIL import Image
from torch import nn

from convlens import (
    ConvlensError,
    Result,
    attack_photos,
    fgsm,
    find_flip,
    internal_changes,
    robustness,
    wrap,
)

SIZE = 16


@pytest.fixture
def model():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 4),
    ).eval()  # fmt: skip
    return wrap(network, size=SIZE)


@pytest.fixture
def paths(tmp_path):
    generator = torch.Generator().manual_seed(0)
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths:
        pixels = torch.randint(0, 256, (SIZE, SIZE, 3), dtype=torch.uint8, generator=generator)
        Image.fromarray(pixels.numpy()).save(path)
    return paths


def test_results_are_those_of_the_single_calls(model, paths, tmp_path):
    labels = [(1,), None, (2, 3)]
    epsilons = ["4/255", "16/255"]
    attacks = attack_photos(
        model, paths, epsilons, out=tmp_path / "out", labels=labels, pgd_steps=2, seed=3,
        internal_changes=True,
    )  # fmt: skip
    assert attacks.curve == robustness(model, paths, epsilons, labels=labels, pgd_steps=2, seed=3)
    assert [attack.photo for attack in attacks.attacks] == ["0.png", "1.png", "2.png"]
    assert [attack.class_origin for attack in attacks.attacks] == ["label", "prediction", "label"]
    image = model.prepare(paths[2])
    single = fgsm(model, image, epsilons, labels=[2], seed=3)
    assert attacks["2.png"] == single
    flip = find_flip(model, single, seed=3)
    changes = internal_changes(model, single, seed=3)
    folder = tmp_path / "out" / "2.png"
    assert Result.load(folder / "flip") == flip
    assert Result.load(folder / "internal-changes") == changes
    row = attacks.attacks[2]
    assert row.flip is not None and row.flip.level == flip.flip_levels[0]
    assert row.largest_changes == tuple(single.largest_changes[:, 0].tolist())
    assert [
        (changed_channel.layer, changed_channel.channel) for changed_channel in row.changed_channels
    ] == [channel[:2] for channel in changes.most_changed()]
    numbers = json.loads(attacks.numbers_path.read_text())
    assert numbers["photos"]["2.png"]["flip"] == json.loads(json.dumps(flip.to_json()))
    assert attacks.diagnostics == attacks.curve.diagnostics


def test_towards_a_class_there_is_no_curve_and_no_flip(model, paths, tmp_path):
    attacks = attack_photos(model, paths, ["8/255"], out=tmp_path / "out", target=1, show=1)
    assert attacks.curve is None and len(attacks.attacks) == 3
    assert {attack.class_origin for attack in attacks.attacks} == {"target"}
    assert all(attack.flip is None for attack in attacks.attacks)
    assert not (tmp_path / "out" / "curve").exists()


def test_no_photo_is_shown(model, paths, tmp_path):
    attacks = attack_photos(model, paths, ["8/255"], out=tmp_path / "out", pgd_steps=0, show=0)
    assert attacks.attacks == () and attacks.curve is not None and attacks.curve.images == 3


def test_a_damaged_photo_is_skipped_once(model, paths, tmp_path):
    paths[1].write_bytes(b"no picture")
    attacks = attack_photos(model, paths, ["8/255"], out=tmp_path / "out", pgd_steps=0)
    assert len(attacks.skipped) == 1 and "1.png" in attacks.skipped[0]
    assert [attack.photo for attack in attacks.attacks] == ["0.png", "2.png"]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"labels": [(0,)]}, "1 labels for 3 photos"), ({"epsilons": []}, "no epsilon"),
     ({"loss": "hinge"}, "loss"), ({"classes": 1, "target": 2}, "more than one")],
)  # fmt: skip
def test_wrong_options_leave_no_folder(model, paths, tmp_path, options, message):
    with pytest.raises(ConvlensError, match=message):
        attack_photos(model, paths, out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
