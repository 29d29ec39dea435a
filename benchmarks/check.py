"""False alarms of `check` over resamples of healthy networks, and the faults that it names.

Small networks learn to read a red digit over which a blue one lies (digits of scikit-learn), so
that the order of the channels matters. They are healthy: what `check` calls broken on a random
resample of held-out photos is a false alarm, which may happen in 5 % of the resamples. Then one
fault at a time is injected, and the finding has to name it: `check` those of labels and
preprocessing, `diff` with the network as it was those of the weights.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convlens
from benchmarks.networks import ReversedChannels
from benchmarks.tables import TextTable, print_remarks, print_text_table, write_results
from convlens.models.model import Model

LIMIT = 0.05  # share of resamples with a finding that is not true
RESAMPLES, PHOTOS = 100, (60, 120, 240)  # of each of the two networks
FAULTY_RESAMPLES, FAULTY_PHOTOS = 10, 120
SIDE, EPOCHS, TRAINED_ON = 16, 30, 1200
EXCHANGED = (3, 8)
# Only the photos of two classes of ten tell that their labels are exchanged, so that it needs more
# photos than the other faults.
EXCHANGED_PHOTOS = 240

Photos = tuple[Tensor, list[int]]  # images, and the class of each


@dataclass(frozen=True)
class Count:
    """How often something was found.

    Attributes:
        network: the network in words.
        subject: "a false alarm", or the fault that was injected.
        hits: number of resamples with a false alarm, or in which the fault was named.
        resamples: number of resamples.
        examples: findings that are not true, at most three.
        is_expected: whether there are enough photos for a fault to be named in every resample.
    """

    network: str
    subject: str
    hits: int
    resamples: int
    examples: tuple[str, ...] = ()
    is_expected: bool = True


@dataclass(frozen=True)
class Fault:
    """A fault of labels or preprocessing, which `check` has to name.

    Attributes:
        subject: the fault in words.
        model: the model that has it, or a healthy one if the labels are wrong.
        relabel: the wrong label of a class.
        finding: name of the finding that has to be broken, and no other.
        words: what the finding has to say.
        photos: number of photos of a resample.
        is_expected: whether these are enough to name it in every resample.
    """

    subject: str
    model: Model
    relabel: Callable[[int], int]
    finding: str
    words: str
    photos: int = FAULTY_PHOTOS
    is_expected: bool = True


def run() -> None:
    """Train the networks, check them on resamples, print and write the counts."""
    training, held_out = _read_digits()
    counts: list[Count] = []
    for name, make in (("plain", _plain), ("with batch normalization", _normalized)):
        torch.manual_seed(0)
        model = _train(make(), training)
        right = convlens.predict(model, held_out[0], top=1).classes[:, 0]
        accuracy = float((right == torch.tensor(held_out[1])).double().mean())
        network = f"{name}, accuracy {accuracy:.2f}"
        counts.append(_count_false_alarms(network, model, held_out))
        counts += [
            _count_fault(network, fault, held_out) for fault in _list_faults(model)
        ] + _count_weight_faults(network, model, held_out)
        print(*(count for count in counts if count.network == network), sep="\n", flush=True)
    table = _make_table(counts)
    remarks = [
        f"{RESAMPLES} resamples of {', '.join(map(str, PHOTOS))} of {len(held_out[1])} photos, "
        f"with replacement; at most {LIMIT:.0%} may have a finding that is not true",
        f"faults: {FAULTY_RESAMPLES} resamples of {FAULTY_PHOTOS} photos where no number is given, "
        f"each of which has to name the fault; two exchanged labels are expected to be named with "
        f"{EXCHANGED_PHOTOS} photos of ten classes",
    ]
    remarks += [
        f"{count.network}, {count.subject}: {example}"
        for count in counts
        for example in count.examples
    ]
    print_text_table(table)
    print_remarks(remarks)
    write_results(
        "check",
        {"limit": LIMIT, "counts": [asdict(count) for count in counts]},
        tables=[table],
        remarks=remarks,
    )


def _read_digits() -> tuple[Photos, Photos]:
    """Training and held-out images, in which the red digit is the class and the blue one is not."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    shapes = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    shapes = F.interpolate(shapes, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(shapes), generator=generator)
    others = torch.randperm(len(shapes), generator=generator)
    grain = 0.1 * torch.rand(len(shapes), 3, SIDE, SIDE, generator=generator)
    images = grain.clone()
    images[:, :1] += 0.85 * shapes[order]
    images[:, 2:] += 0.6 * shapes[others]
    labels = torch.tensor(digits.target)[order].tolist()
    return (
        (images[:TRAINED_ON], labels[:TRAINED_ON]),
        (images[TRAINED_ON:], labels[TRAINED_ON:]),
    )


def _plain() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 16, 10),
    )  # fmt: skip


def _normalized() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(32 * 16, 10),
    )  # fmt: skip


def _train(network: nn.Module, photos: Photos) -> Model:
    images, labels = photos[0], torch.tensor(photos[1])
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    network.train()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images), generator=generator).split(64):
            loss = F.cross_entropy(network((images[rows] - 0.5) / 0.5), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return convlens.wrap(
        network.eval(), size=SIDE, mean=0.5, std=0.5, labels=[str(k) for k in range(10)]
    )


def _count_false_alarms(network: str, model: Model, photos: Photos) -> Count:
    """How often a healthy network has a finding that is broken."""
    half = replace(model, network=deepcopy(model.network).half())
    generator = torch.Generator().manual_seed(0)
    hits, examples = 0, []
    for number in range(RESAMPLES):
        images, labels = _resample(photos, PHOTOS[number % len(PHOTOS)], generator)
        broken = convlens.check(model, images, [(k,) for k in labels], against=half).broken
        hits += bool(broken)
        examples += [finding.summary() for finding in broken]
    return Count(network, "a false alarm", hits, RESAMPLES, tuple(examples[:3]))


def _resample(photos: Photos, count: int, generator: torch.Generator) -> Photos:
    rows = torch.randint(0, len(photos[1]), (count,), generator=generator)
    return photos[0][rows], [photos[1][row] for row in rows.tolist()]


def _list_faults(model: Model) -> list[Fault]:
    exchanged = {EXCHANGED[0]: EXCHANGED[1], EXCHANGED[1]: EXCHANGED[0]}
    reversed_channels = replace(model, network=nn.Sequential(ReversedChannels(), model.network))
    return [
        Fault(
            "channels in the wrong order", reversed_channels, _same,
            "preprocessing", "order of the channels",
        ),
        Fault(
            "normalized twice", replace(model, mean=(0.75,) * 3, std=(0.25,) * 3), _same,
            "preprocessing", "normalized twice",
        ),
        Fault(
            "labels shifted by one", model, lambda k: (k + 1) % 10, "label order", "one too high"
        ),
        *(
            Fault(
                f"two labels exchanged, {photos} photos", model, lambda k: exchanged.get(k, k),
                "label order", f"{EXCHANGED[0]} and {EXCHANGED[1]} exchanged",
                photos=photos, is_expected=photos >= EXCHANGED_PHOTOS,
            )
            for photos in PHOTOS
        ),
    ]  # fmt: skip


def _count_fault(network: str, fault: Fault, photos: Photos) -> Count:
    """How often `check` names an injected fault."""
    generator = torch.Generator().manual_seed(1)
    hits, examples = 0, []
    for _ in range(FAULTY_RESAMPLES):
        images, labels = _resample(photos, fault.photos, generator)
        result = convlens.check(fault.model, images, [(fault.relabel(k),) for k in labels])
        finding = result[fault.finding]
        # Any other finding that is broken leads astray.
        is_named = (
            finding.status == "broken"
            and fault.words in finding.sentence
            and len(result.broken) == 1
        )
        hits += is_named
        examples += [] if is_named or not fault.is_expected else [result.summary()]
    return Count(
        network, fault.subject, hits, FAULTY_RESAMPLES, tuple(examples[:3]), fault.is_expected
    )


def _count_weight_faults(network: str, model: Model, photos: Photos) -> list[Count]:
    """How often `diff` names a corrupted filter and 8-bit weights of the second convolution."""
    counts = []
    for subject in ("a corrupted filter", "rounded to 8 bits"):
        generator = torch.Generator().manual_seed(2)
        hits, examples = 0, []
        for number in range(FAULTY_RESAMPLES):
            faulty = deepcopy(model.network)
            name, layer = [
                (name, layer) for name, layer in faulty.named_modules()
                if isinstance(layer, nn.Conv2d)
            ][1]  # fmt: skip
            with torch.no_grad():
                if subject == "a corrupted filter":
                    noise = torch.randn(layer.weight.shape[1:], generator=generator)
                    layer.weight[number] = 3 * layer.weight.std() * noise
                    words = f"1 of 32 filters differs: {number}"
                else:
                    step = layer.weight.abs().max() / 127
                    layer.weight.copy_((layer.weight / step).round() * step)
                    words = "rounded to 8 bits"
            images, _ = _resample(photos, 16, generator)
            result = convlens.diff(model, replace(model, network=faulty), images, parts=())
            changes = [(change.name, change.change) for change in result.weights.changes]
            first = result.layers.first_exceeding
            is_named = (
                len(changes) == 1
                and changes[0][0] == f"{name}.weight"
                and words in changes[0][1]
                and first is not None
                and first.name == name
            )
            hits += is_named
            examples += [] if is_named else [result.summary()]
        counts.append(Count(network, subject, hits, FAULTY_RESAMPLES, tuple(examples[:3])))
    return counts


def _same(label: int) -> int:
    return label


def _make_table(counts: list[Count]) -> TextTable:
    rows = [
        (count.network, count.subject, f"{count.hits} of {count.resamples}", _judge(count))
        for count in counts
    ]
    return TextTable("findings", ("network", "what", "found", "verdict"), tuple(rows))


def _judge(count: Count) -> str:
    if not count.is_expected:
        return "too few photos"
    if count.subject == "a false alarm":
        is_met = count.hits <= LIMIT * count.resamples
    else:
        is_met = count.hits == count.resamples
    return "met" if is_met else "MISSED"
