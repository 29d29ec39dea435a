"""False alarms of the checks of weights, preprocessing and Grad-CAM, and what they miss.

The checks run on networks whose state is known: trained ones that are fed rightly, trained ones
that are fed wrongly, and networks that know nothing, either as they were initialized or with the
weights of a trained network in random order. A finding is drawn again and again on random photos of
the same set; the share of draws with a finding that is not true has to be at most 5 %.

Weights and photos are read from the folder `shared` beside the checkout; without it, the embedded
network and the demo photos are used.
"""

import csv
import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn

import convlens
from benchmarks.networks import ReversedChannels
from benchmarks.tables import TextTable, print_remarks, print_text_table, write_results
from convlens.analyses.gradcam.randomization_result import Randomization
from convlens.analyses.predictions.predictions import compute_logits
from convlens.analyses.preprocessing_check.scores import score_by_confidence, score_by_labels
from convlens.analyses.preprocessing_check.variants import list_variants, prepare_variants
from convlens.analyses.preprocessing_check.verdict import compare_variants, conclude
from convlens.models.loading.demo_photos import demo_photos
from convlens.models.model import Model

SHARED = Path(__file__).resolve().parents[2] / "shared"
LIMIT = 0.05  # share of draws with a finding that is not true
DRAWS = 200
SIZES = (8, 12, 20, 32)  # photos of a draw
PHOTOS = 40
EXPLAINED = 16  # photos whose maps are compared
SHOWN = 4  # of them on a page

HEALTHY, FED_WRONGLY, KNOWS_NOTHING = "healthy", "fed wrongly", "knows nothing"
_UNTRAINED = ("resnet18", "squeezenet1_1", "shufflenet_v2_x0_5")


@dataclass(frozen=True)
class Subject:
    """A network whose state is known.

    Attributes:
        name: the network in words.
        state: `HEALTHY`, `FED_WRONGLY` or `KNOWS_NOTHING`.
        make: builds the model.
        initialized: whether its weights are as an initialization leaves them.
    """

    name: str
    state: str
    make: Callable[[], Model]
    initialized: bool = False


@dataclass
class Count:
    """How often a check gave a finding.

    Attributes:
        check: the check in words.
        subject: the network in words.
        wrong: whether the finding is not true of it.
        findings: the number of draws with the finding.
        draws: the number of draws.
    """

    check: str
    subject: str
    wrong: bool
    findings: int
    draws: int

    @property
    def share(self) -> float:
        """The share of draws with the finding."""
        return self.findings / max(self.draws, 1)


def run() -> None:
    """Run the checks, print and write the shares of findings."""
    paths, labels = _list_photos()
    counts: list[Count] = []
    for subject in _list_subjects():
        model = subject.make()
        new = [
            _count_weights(subject, model),
            *_count_preprocessing(subject, model, paths, labels),
        ]
        if subject.state != FED_WRONGLY:
            new.append(_count_gradcam(subject, model, paths))
        for count in new:
            print(f"{count.subject}, {count.check}: {count.findings} of {count.draws}", flush=True)
        counts += new
    table = _make_table(counts)
    print_text_table(table)
    remark = (
        f"findings on {DRAWS} random draws of {SIZES[0]} to {SIZES[-1]} photos out of "
        f"{len(paths)}; those that are not true may occur in {LIMIT:.0%}"
    )
    print_remarks((remark,))
    write_results(
        "false_alarms",
        {"limit": LIMIT, "counts": [vars(count) for count in counts]},
        tables=[table],
        remarks=[remark],
    )


def _list_photos() -> tuple[list[Path], list[tuple[int, ...]] | None]:
    table = SHARED / "photos" / "imagenet" / "labels.csv"
    if not table.is_file():
        return [photo.path for photo in demo_photos()], None
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rows = rows[:: max(1, len(rows) // PHOTOS)][:PHOTOS]
    name, index = list(rows[0])[:2]
    return [table.parent / row[name] for row in rows], [(int(row[index]),) for row in rows]


def _list_subjects() -> Iterator[Subject]:
    trained: dict[str, Callable[[], Model]] = {"EfficientNet-Lite0": convlens.load}
    for name in ("squeezenet1_0", "squeezenet1_1"):
        if (SHARED / "weights" / f"{name}.safetensors").is_file():
            trained[name] = partial(_torchvision, name, trained=True)
    for name, make in trained.items():
        yield Subject(name, HEALTHY, make)
        # What is missed is counted on one network, so that all takes ten minutes on two cores.
        for mistake in _MISTAKES if make is convlens.load else ():
            yield Subject(f"{name}, {mistake}", FED_WRONGLY, partial(_fed_wrongly, make, mistake))
        yield Subject(f"{name}, weights shuffled", KNOWS_NOTHING, partial(_shuffled, make))
    for name in _UNTRAINED:
        make = partial(_torchvision, name)
        yield Subject(f"{name}, not trained", KNOWS_NOTHING, make, initialized=True)


def _torchvision(name: str, *, trained: bool = False) -> Model:
    torch.manual_seed(0)
    network: nn.Module = torchvision.models.get_model(name, weights=None)
    if trained:
        network.load_state_dict(load_file(SHARED / "weights" / f"{name}.safetensors"))
    return convlens.wrap(
        network.eval(), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), size=224, resize=256
    )


def _shuffled(make: Callable[[], Model]) -> Model:
    """The weights of a trained network in random order: a network that knows nothing."""
    model = make()
    network = deepcopy(model.network)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            order = torch.randperm(parameter.numel(), generator=generator)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return replace(model, network=network)


_MISTAKES = ("BGR", "0..1", "0..255")


def _fed_wrongly(make: Callable[[], Model], mistake: str) -> Model:
    """A trained network with one of the usual mistakes of preprocessing."""
    model = make()
    if mistake == "BGR":
        network = nn.Sequential(ReversedChannels(), model.network)
        return replace(model, network=network, mean=model.mean[::-1], std=model.std[::-1])
    scale = 1.0 if mistake == "0..1" else 1 / 255
    return replace(model, mean=(0.0,) * 3, std=(scale,) * 3)


def _count_weights(subject: Subject, model: Model) -> Count:
    untrained = convlens.check_weights(model).untrained
    return Count("untrained", subject.name, not subject.initialized, int(untrained), 1)


def _count_preprocessing(
    subject: Subject, model: Model, paths: list[Path], labels: list[tuple[int, ...]] | None
) -> Iterator[Count]:
    """How often the preprocessing is called wrong; untrained weights are named instead."""
    checks = {
        labeled: f"preprocessing wrong, {'with' if labeled else 'without'} labels"
        for labeled in (False, True)[: 1 if labels is None else 2]
    }
    if convlens.check_weights(model).untrained:
        for check in checks.values():
            yield Count(check, subject.name, subject.state != FED_WRONGLY, 0, DRAWS)
        return
    variants = list_variants(model, with_resizes=True)
    numbers = list(range(len(paths)))
    images, _, _ = prepare_variants(model, paths, numbers, variants, strict=True)
    logits: list[tuple[Tensor, Tensor]] = []
    output_head = convlens.trace(model).output_head
    for variant in variants:
        batch = images[variant.resize]
        batch = batch.flip(1) if variant.reverse_channels else batch
        trace = convlens.trace(variant.model, batch)
        sides = [
            torch.cat([compute_logits(variant.model, trace, part) for part in side.split(8)])
            for side in (batch, batch.flip(3))
        ]
        logits.append((sides[0].double(), sides[1].double()))
    names = [variant.name for variant in variants]
    rng = random.Random(0)
    for labeled, check in checks.items():
        findings = 0
        for draw in range(DRAWS):
            chosen = sorted(rng.sample(numbers, min(SIZES[draw % len(SIZES)], len(numbers))))
            scores = [
                score_by_labels(own[chosen], [labels[k] for k in chosen], output_head)
                if labeled and labels is not None
                else score_by_confidence(own[chosen], mirrored[chosen], output_head)
                for own, mirrored in logits
            ]
            verdict, _ = conclude(compare_variants(names, scores), len(chosen), labeled=labeled)
            findings += verdict == "mistake"
        yield Count(check, subject.name, subject.state != FED_WRONGLY, findings, DRAWS)


def _count_gradcam(subject: Subject, model: Model, paths: list[Path]) -> Count:
    """How often the maps of a few photos are said to hardly depend on the weights.

    The page says nothing about them where the weights look untrained.
    """
    if convlens.check_weights(model).untrained:
        return Count("maps hardly depend on weights", subject.name, True, 0, DRAWS)
    images = model.prepare(paths[:: max(1, len(paths) // EXPLAINED)][:EXPLAINED])
    check = convlens.randomization(model, images, stages=1, draws=2)
    rng = random.Random(0)
    findings = 0
    for _ in range(DRAWS):
        chosen = rng.sample(range(len(images)), min(SHOWN, len(images)))
        findings += not _of_photos(check, chosen).maps_change
    return Count("maps hardly depend on weights", subject.name, True, findings, DRAWS)


def _of_photos(check: Randomization, numbers: list[int]) -> Randomization:
    return replace(check, correlations=check.correlations[:, :, numbers])


def _make_table(counts: list[Count]) -> TextTable:
    rows = []
    for count in sorted(counts, key=lambda count: count.check):
        verdict = ("ABOVE" if count.share > LIMIT else "met") if count.wrong else ""
        rows.append(
            (
                count.check, count.subject, "no" if count.wrong else "yes",
                f"{count.findings} of {count.draws}", f"{count.share:.1%}", verdict,
            )
        )  # fmt: skip
    headings = ("check", "network", "true", "found", "share", "verdict")
    return TextTable("findings", headings, tuple(rows))
