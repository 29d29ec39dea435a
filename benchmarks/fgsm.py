"""FGSM images for several epsilons, beside one forward and one backward pass and two peers."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

import convlens
from benchmarks import networks
from benchmarks.floors import Floor, bare_pass, floor, freeze, pass_and_back
from benchmarks.tables import METHOD, Entry, Row, compare, show, tell, write
from benchmarks.timing import Work

TITLE = (
    f"FGSM without scoring, {networks.BATCH} images of {networks.SIZE} pixels, "
    f"in passes forward and back to the images"
)
SCORED_TITLE = "The same with scoring, in one pass forward and back and a forward pass an epsilon"
COUNTS = (1, 5, 10)  # of epsilons
SCORED = 5  # epsilons that are scored
TARGET = 1.1  # floors, whatever the number of epsilons
HOW = (
    "convlens: score=False, network not frozen; all epsilons in one call, then every image built",
    f"scored: images and answers at {SCORED} epsilons, beside one pass forward and back and "
    f"{SCORED} forward passes; convlens without its control of random signs (control=False)",
    "torchattacks: network frozen, classes given; an attack for each epsilon",
    "foolbox: network frozen, classes given; one call with all epsilons, which scores every image "
    "as well; run() is the attack alone, below its documented call, for each epsilon",
)
AGREEMENT = 1e-3  # greatest share of pixels that may be another than torchattacks'

Images = Callable[[], list[Tensor]]


def run() -> None:
    """Measure, print and keep."""
    rows: list[Row] = []
    remarks = list(HOW)
    for name in networks.NAMES:
        least = floor(
            "forward and backward", pass_and_back, networks.build(name), networks.images()
        )
        remarks.append(f"{name}, {least.describe()}")
        remarks.append(f"{name}, images: {_agreement(name, least)}")
        measured = compare(name, least.what, least.work, _entries(least))
        show(f"{TITLE}: {name}", measured)
        rows += measured
        measured = compare(
            name, "forward, backward, scoring", _scored_floor(least), _scored_entries(least)
        )
        show(f"{SCORED_TITLE}: {name}", measured)
        rows += measured
    tell((METHOD, *remarks))
    print(f"written: {write('fgsm', rows, remarks)}")


def _entries(least: Floor) -> list[Entry]:
    peers: dict[str, Callable[[Floor, Sequence[float]], Work]] = {
        "torchattacks": _torchattacks,
        "foolbox run()": _foolbox_run,
        "foolbox": _foolbox,
    }
    ours = [
        Entry(_task(count), "convlens", partial(_ours, least, _epsilons(count)), TARGET)
        for count in COUNTS
    ]
    theirs = [
        Entry(_task(count), who, partial(make, least, _epsilons(count)))
        for count in COUNTS
        for who, make in peers.items()
    ]
    return ours + theirs


def _scored_floor(least: Floor) -> Work:
    """One pass forward and back to the images, and a forward pass for each epsilon."""
    forward = bare_pass(least.network, least.images)

    def work() -> None:
        least.work()
        for _ in range(SCORED):
            forward()

    return work


def _scored_entries(least: Floor) -> list[Entry]:
    task, epsilons = f"{_task(SCORED)}, scored", _epsilons(SCORED)
    model = convlens.wrap(least.network)
    return [
        Entry(
            task,
            "convlens",
            lambda: lambda: convlens.fgsm(model, least.images, epsilons, control=False),
            TARGET,
        ),
        Entry(task, "foolbox", partial(_foolbox, least, epsilons)),
    ]


def _task(count: int) -> str:
    return "1 epsilon" if count == 1 else f"{count} epsilons"


def _epsilons(count: int) -> list[float]:
    return [level / 255 for level in range(1, count + 1)]


def _ours(least: Floor, epsilons: Sequence[float]) -> Images:
    """As a user has it: the class is the network's answer, the parameters are not frozen."""
    model = convlens.wrap(least.network)

    def work() -> list[Tensor]:
        found = convlens.fgsm(model, least.images, epsilons, score=False)
        return [found.adversarial(index) for index in range(len(epsilons))]

    return work


def _torchattacks(least: Floor, epsilons: Sequence[float]) -> Images:
    from torchattacks import FGSM

    network, labels = freeze(least.network), _labels(least)
    attacks = [FGSM(network, eps=epsilon) for epsilon in epsilons]
    return lambda: [attack(least.images, labels) for attack in attacks]


def _foolbox(least: Floor, epsilons: Sequence[float]) -> Work:
    import foolbox

    network, labels = freeze(least.network), _labels(least)
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device=least.images.device)
    attack = foolbox.attacks.LinfFastGradientAttack()
    return lambda: attack(model, least.images, labels, epsilons=list(epsilons))


def _foolbox_run(least: Floor, epsilons: Sequence[float]) -> Work:
    """The attack alone: the documented call has no way to leave out the scoring."""
    import foolbox

    network, labels = freeze(least.network), _labels(least)
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device=least.images.device)
    attack = foolbox.attacks.LinfFastGradientAttack()
    return lambda: [
        attack.run(model, least.images, labels, epsilon=epsilon) for epsilon in epsilons
    ]


def _labels(least: Floor) -> Tensor:
    """The network's answers; peers take them as given."""
    with torch.no_grad():
        return least.network(least.images).argmax(dim=1)


def _agreement(name: str, least: Floor) -> str:
    """That the images are torchattacks', so that the work is the same work."""
    epsilons = _epsilons(2)
    try:
        theirs = torch.stack(_torchattacks(least, epsilons)())
    except ImportError as error:
        return f"not compared, torchattacks is not installed: {error}"
    ours = torch.stack(_ours(least, epsilons)())
    share = float(((ours - theirs).abs() > 1e-6).float().mean())
    if not share <= AGREEMENT:
        raise RuntimeError(
            f"{name}: {share:.2g} of the pixels are other than torchattacks', over "
            f"{AGREEMENT:g}; the times would compare different work"
        )
    return f"as torchattacks', but for {share:.1g} of the pixels"
