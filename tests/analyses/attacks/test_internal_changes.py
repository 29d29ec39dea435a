"""The changes that an attack causes inside a network, compared with plain arithmetic."""

import pytest
import torch
from torch import nn

from convlens import ConvlensError, Result, fgsm, gradcam, internal_changes, wrap
from convlens.passes.random_numbers import random_signs

SIZE = 16


def images(count=3):
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(inplace=True), nn.Conv2d(6, 7, 3), nn.Tanh(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(7, 5),
    ).eval()  # fmt: skip


def test_changes_are_those_of_plain_arithmetic():
    net = network()
    model = wrap(net, size=SIZE)
    attack = fgsm(model, images(), ["2/255", "16/255"])
    changes = internal_changes(model, attack, top=6, seed=4)
    assert [layer.layer for layer in changes.layers] == ["0", "2"]
    assert changes.fraction == 16 / 255
    signs = random_signs(images(), torch.arange(3), 4) * attack.signs.abs()
    noise = (images() + 16 / 255 * signs).clamp(0, 1)
    for end, change in ((2, changes.layers[0]), (4, changes.layers[1])):
        with torch.no_grad():
            maps = [net[:end](batch).double() for batch in (images(), attack.adversarial(1), noise)]
        expected = []
        for other in maps[1:]:
            apart = (other - maps[0]).square().sum((0, 2, 3))
            own = (maps[0].square() + other.square()).sum((0, 2, 3)) / 2
            expected.append((apart / (own + own.mean())).sqrt())
        order = expected[0].argsort(descending=True)[:6]
        assert change.channels.tolist() == order.tolist()
        torch.testing.assert_close(
            change.changes.double(), expected[0][order], rtol=1e-5, atol=1e-6
        )
        torch.testing.assert_close(
            change.noise_changes.double(), expected[1][order], rtol=1e-5, atol=1e-6
        )
        whole = (maps[1] - maps[0]).square().sum() / (maps[0].square() + maps[1].square()).sum() * 2
        assert change.change == pytest.approx(float(whole.sqrt()), rel=1e-5)
    most = changes.most_changed(3)
    assert len(most) == 3 and most[0][2] - most[0][3] >= most[1][2] - most[1][3]


def test_grad_cam_before_and_after():
    net = network()
    with torch.no_grad():  # answers that hang on little
        net[-1].bias -= net(images()).mean(0)
    model = wrap(net, size=SIZE)
    attack = fgsm(model, images(), ["64/255"])
    changes = internal_changes(model, attack)
    first, second = (logits.argmax(1) for logits in (attack.logits, attack.adversarial_logits[0]))
    both = torch.stack([first, second], 1)
    assert (first != second).any()
    assert changes.before == gradcam(model, images(), classes=both)
    assert changes.after == gradcam(model, attack.adversarial(0), classes=both)
    assert changes.adversarial_predictions == tuple(f"class {k}" for k in second.tolist())
    assert set(changes.pictures()) == {
        f"image {image}, {when}, class {int(both[image, rank])} at 2"
        for image in range(3) for rank, when in enumerate(("before", "after"))
    }  # fmt: skip


def test_nothing_changes_at_epsilon_zero(tmp_path):
    model = wrap(network(), size=SIZE)
    changes = internal_changes(model, fgsm(model, images(), [0]))
    for layer in changes.layers:
        assert layer.change == 0 and not layer.changes.any() and not layer.noise_changes.any()
    changes.save(tmp_path / "inside")
    assert Result.load(tmp_path / "inside") == changes


def test_bad_input():
    model = wrap(network(), size=SIZE)
    attack = fgsm(model, images(), ["2/255"])
    for options, message in (({"index": 1}, "epsilon number"), ({"top": 0}, "top"),
                             ({"layers": ["9"]}, "no layer")):  # fmt: skip
        with pytest.raises(ConvlensError, match=message):
            internal_changes(model, attack, **options)
