"""`check` names injected faults, and a healthy network has none."""

from xml.etree import ElementTree

import pytest
import torch
from torch import nn

import convlens
from convlens import CheckThresholds, ConvlensError
from convlens.analyses.model_check.label_order import check_label_order
from convlens.analyses.model_check.preprocessing_findings import name_mistake
from convlens.analyses.model_check.result import CheckFinding, write_junit
from convlens.analyses.model_check.thresholds import read_thresholds

SIZE, COUNT = 8, 48
NAMES = ["green", "blue", "red", "a mix"]


class Colors(nn.Module):
    """Surely predicts which of green, blue and red is strongest on average."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1, bias=False)
        self.stem.weight.data.zero_()
        for channel, color in enumerate((1, 2, 0)):
            self.stem.weight.data[channel, color] = 300.0
        self.head = nn.Linear(4, 4, bias=False)
        self.head.weight.data.copy_(torch.eye(4))

    def forward(self, x):
        return self.head(self.stem(x).relu().mean((2, 3)))


def model(network=None, **options):
    return convlens.wrap(network or Colors(), **{"size": SIZE, "labels": NAMES, **options})


def images(count=COUNT, seed=0):
    """Noise in which one color is stronger, and the class of this color."""
    generator = torch.Generator().manual_seed(seed)
    batch = torch.rand(count, 3, SIZE, SIZE, generator=generator) * 0.3
    kinds = torch.arange(count) % 3
    batch[torch.arange(count), torch.tensor([1, 2, 0])[kinds]] += 0.3
    return batch, [(int(kind),) for kind in kinds]


def test_a_healthy_network_is_fine():
    result = convlens.check(
        model(), *images(), against=model(),
        thresholds=CheckThresholds(
            accuracy=0.9, class_accuracy=0.9, calibration_error=0.1, dead_channels=0.5
        ),
    )  # fmt: skip
    assert not result.broken, result.summary()
    names = [finding.name for finding in result.findings]
    assert names == [
        "finite weights", "trained weights", "brightness", "preprocessing", "dead channels",
        "agreement", "label order", "accuracy", "accuracy of each class", "calibration",
    ]  # fmt: skip
    assert result["dead channels"].value == 0.25  # the fourth channel
    assert result["accuracy"].value == 1


def test_broken_weights_end_the_check():
    network = Colors()
    network.head.weight.data[1, 2] = float("nan")
    result = convlens.check(model(network), *images())
    assert [finding.name for finding in result.findings] == ["finite weights"]
    assert "NaN or infinity in head.weight" in result.broken[0].sentence


def test_faults_are_named():
    batch, right = images()
    reversed_channels = model(nn.Sequential(_Flip(), Colors()))
    assert "order of the channels" in _only_broken(reversed_channels, batch, right, "preprocessing")
    dead = Colors()
    dead.stem.weight.data[1] = -1.0
    dead.stem.weight.data[2] = -1.0
    dead.head.weight.data[1, 0] = -1.0
    broken = {finding.name for finding in convlens.check(model(dead), batch, right).broken}
    assert "dead channels" in broken
    shifted = [((classes[0] + 1) % 4,) for classes in right]
    assert "one too high" in _only_broken(model(), batch, shifted, "label order")
    dark = convlens.check(model(), batch / 255, right)
    assert "16-bit" in dark["brightness"].sentence
    assert dark["brightness"].status == "broken"


def test_a_network_as_it_was_initialized_is_broken():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(32, 4),
    )  # fmt: skip
    result = convlens.check(model(network), images()[0])
    assert result["trained weights"].status == "broken"
    assert result["preprocessing"].status == "cannot tell"


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (lambda size, label: (label + 1) % size, "one too high"),
        (lambda size, label: (label - 1) % size, "one too low"),
        (lambda size, label: size - 1 - label, "reverse order"),
        (lambda size, label: sorted(range(size), key=str).index(label), "sorted as text"),
        (lambda size, label: sorted(f"n{9 - k % 10}{k}" for k in range(size)).index(
            f"n{9 - label % 10}{label}"), "alphabetical"),
    ],
)  # fmt: skip
def test_labels_in_another_order_are_named(order, words):
    size = 12
    names = [f"n{9 - k % 10}{k}" for k in range(size)]
    predicted = torch.arange(60) % size
    labels = torch.tensor([order(size, int(kind)) for kind in predicted])
    labels[:6] = predicted[:6]  # the network is wrong on some photos
    counts = torch.zeros(size, size, dtype=torch.int64)
    counts.index_put_((labels, predicted), torch.ones(60, dtype=torch.int64), accumulate=True)
    finding = check_label_order(counts, names)
    assert finding.status == "broken"
    assert words in finding.sentence


def test_the_order_of_labels_has_few_false_alarms():
    generator = torch.Generator().manual_seed(0)
    broken = 0
    for _ in range(200):
        counts = torch.zeros(10, 10, dtype=torch.int64)
        labels = torch.randint(0, 10, (50,), generator=generator)
        guess = torch.randint(0, 10, (50,), generator=generator)
        sure = torch.rand(50, generator=generator) < 0.3
        predicted = labels.where(sure, guess)
        counts.index_put_((labels, predicted), torch.ones(50, dtype=torch.int64), accumulate=True)
        broken += check_label_order(counts, None).status == "broken"
    assert broken <= 4
    few = check_label_order(torch.eye(4, dtype=torch.int64), None)
    assert few.status == "cannot tell"
    assert "give at least 9" in few.sentence


def test_limits():
    batch, right = images()
    right[:6] = [((classes[0] + 1) % 3,) for classes in right[:6]]  # 42 of 48 are right
    result = convlens.check(
        model(), batch, right, thresholds=CheckThresholds(accuracy=0.9, calibration_error=0.02)
    )
    assert result["accuracy"].status == "cannot tell"  # 75 to 94 %
    assert result["accuracy"].value == pytest.approx(42 / 48)
    assert "photos would decide" in result["accuracy"].sentence
    assert result["calibration"].status == "broken"  # it is sure of its errors
    assert result["calibration"].value == pytest.approx(6 / 48, abs=0.01)

    # 48 photos do not show that the error is above 5 %, although its estimate is.
    result = convlens.check(
        model(), batch, right, thresholds=CheckThresholds(calibration_error=0.05)
    )
    assert result["calibration"].status == "cannot tell"
    assert "48 photos are too few to tell" in result["calibration"].sentence


def test_agreement_with_another_format():
    batch, right = images()
    half = model(Colors().half())
    assert convlens.check(model(), batch, right, against=half)["agreement"].status == "fine"
    other = Colors()
    other.head.weight.data.copy_(torch.eye(4)[[1, 0, 2, 3]])
    finding = convlens.check(model(), batch, right, against=model(other))["agreement"]
    assert finding.status == "broken"
    assert finding.value == pytest.approx(1 / 3)
    with pytest.raises(ConvlensError, match=r"4 outputs and .* has 3; give two formats"):
        convlens.check(model(), batch, against=model(nn.Sequential(
            nn.Conv2d(3, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), labels=None))  # fmt: skip


@pytest.mark.parametrize(
    ("options", "best", "words"),
    [
        ({"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
         "0..1, nothing subtracted, RGB", "normalizes its images itself"),
        ({"mean": 0.75, "std": 0.25}, "mean and deviation 0.5 (-1..1), RGB", "normalized twice"),
        ({}, "ImageNet's mean and deviation, RGB", "not normalized"),
        ({}, "0..255, nothing subtracted, RGB", "pixels of 0 to 255"),
        ({}, "as configured (0..1, nothing subtracted), BGR", "order of the channels"),
        ({"mean": 0.5, "std": 0.5}, "squashed to size, nothing cropped", "resize or crop"),
        ({"mean": 0.5, "std": 0.5}, "ImageNet's mean and deviation, RGB", "other numbers"),
    ],
)  # fmt: skip
def test_names_of_mistakes(options, best, words):
    wrapped = model(**options)
    configured = "as configured: 0..1, nothing subtracted" if not options else "as configured: own"
    assert words in name_mistake(wrapped, configured, best)


def test_junit_xml_is_read_back():
    findings = [
        CheckFinding("accuracy", "broken", "61 % <&> \x1b"),
        CheckFinding("calibration", "cannot tell", "too few"),
        CheckFinding("finite weights", "fine", "all"),
    ]
    root = ElementTree.fromstring(write_junit("net", findings))
    counts = {name: int(root.attrib[name]) for name in ("tests", "failures", "skipped")}
    assert counts == {"tests": 3, "failures": 1, "skipped": 1}
    cases = {case.attrib["name"]: [part.tag for part in case] for case in root}
    assert cases == {
        "accuracy": ["failure"], "calibration": ["skipped"], "finite weights": ["system-out"],
    }  # fmt: skip
    assert root.find(".//failure").attrib["message"] == r"61 % <&> \x1b"


def test_refusals(tmp_path):
    batch, right = images(6)
    with pytest.raises(ConvlensError, match="a limit on accuracy needs labels"):
        convlens.check(model(), batch, thresholds=CheckThresholds(accuracy=0.5))
    with pytest.raises(ConvlensError, match="accuracy 70; give a share of 0 to 1"):
        CheckThresholds(accuracy=70)
    with pytest.raises(ConvlensError, match="none of the photos has a label"):
        convlens.check(model(), batch, [None] * 6)
    (tmp_path / "limits.toml").write_text("acuracy = 0.7\n")
    with pytest.raises(ConvlensError, match="unknown limit 'acuracy'; nearest: accuracy"):
        read_thresholds(tmp_path / "limits.toml")
    (tmp_path / "limits.toml").write_text("accuracy: 0.7\n")
    with pytest.raises(ConvlensError, match="is no TOML"):
        read_thresholds(tmp_path / "limits.toml")
    assert len(right) == 6


class _Flip(nn.Module):
    def forward(self, x):
        return x.flip(1)


def _only_broken(wrapped, batch, right, name):
    result = convlens.check(wrapped, batch, right)
    assert [finding.name for finding in result.broken] == [name], result.summary()
    return result[name].sentence
