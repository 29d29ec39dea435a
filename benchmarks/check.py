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
from benchmarks.tables import TextTable, print_remarks, print_text_table, write_results
from convlens.models.model import Model

LIMIT = 0.05  # share of resamples with a finding that is not true
RESAMPLES, PHOTOS = 200, (60, 120, 240)
FAULTY_RESAMPLES, FAULTY_PHOTOS = 20, 120
SIDE, EPOCHS, TRAINED_ON = 16, 30, 1200
SEEDS = (0,)
EXCHANGED = (3, 8)

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
    """

    network: str
    subject: str
    hits: int
    resamples: int
    examples: tuple[str, ...] = ()


def run() -> None:
    """Train the networks, check them on resamples, print and write the counts."""
    training, held_out = _read_digits()
    counts: list[Count] = []
    for name, make in (("plain", _plain), ("with batch normalization", _normalized)):
        for seed in SEEDS:
            torch.manual_seed(seed)
            model = _train(make(), training)
            right = convlens.predict(model, held_out[0], top=1).classes[:, 0]
            accuracy = float((right == torch.tensor(held_out[1])).double().mean())
            network = f"{name}, seed {seed}, accuracy {accuracy:.2f}"
            counts.append(_count_false_alarms(network, model, held_out))
            if seed == SEEDS[0]:
                counts += _count_faults(network, model, held_out)
            print(*(count for count in counts if count.network == network), sep="\n", flush=True)
    table = _make_table(counts)
    remarks = [
        f"{RESAMPLES} resamples of {', '.join(map(str, PHOTOS))} of {len(held_out[1])} photos, "
        f"with replacement; at most {LIMIT:.0%} may have a finding that is not true",
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


def _count_faults(network: str, model: Model, photos: Photos) -> list[Count]:
    """How often each injected fault is named."""
    exchanged = {EXCHANGED[0]: EXCHANGED[1], EXCHANGED[1]: EXCHANGED[0]}
    faults: dict[str, tuple[Model, Callable[[int], int], str, str]] = {
        "channels in the wrong order": (
            replace(model, network=nn.Sequential(_Reversed(), model.network)), _same,
            "preprocessing", "order of the channels",
        ),
        "normalized twice": (
            replace(model, mean=(0.75,) * 3, std=(0.25,) * 3), _same,
            "preprocessing", "normalized twice",
        ),
        "labels shifted by one": (model, lambda k: (k + 1) % 10, "label order", "one too high"),
        "two labels exchanged": (
            model, lambda k: exchanged.get(k, k), "label order",
            f"{EXCHANGED[0]} and {EXCHANGED[1]} exchanged",
        ),
    }  # fmt: skip
    counts = []
    for subject, (faulty, relabel, finding, words) in faults.items():
        generator = torch.Generator().manual_seed(1)
        hits, examples = 0, []
        for _ in range(FAULTY_RESAMPLES):
            images, labels = _resample(photos, FAULTY_PHOTOS, generator)
            result = convlens.check(faulty, images, [(relabel(k),) for k in labels])
            is_named = result[finding].status == "broken" and words in result[finding].sentence
            # Any other finding that is broken leads astray.
            is_named &= len(result.broken) == 1
            hits += is_named
            examples += [] if is_named else [result.summary()]
        counts.append(Count(network, subject, hits, FAULTY_RESAMPLES, tuple(examples[:3])))
    return [*counts, *_count_weight_faults(network, model, photos)]


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


class _Reversed(nn.Module):
    """Reverses the channels."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(1)


def _make_table(counts: list[Count]) -> TextTable:
    rows = []
    for count in counts:
        is_met = (
            count.hits <= LIMIT * count.resamples
            if count.subject == "a false alarm"
            else count.hits == count.resamples
        )
        share = f"{count.hits} of {count.resamples}"
        rows.append((count.network, count.subject, share, "met" if is_met else "MISSED"))
    return TextTable("findings", ("network", "what", "found", "verdict"), tuple(rows))
