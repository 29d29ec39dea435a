"""FGSM for 1 and 5 epsilons beside torchattacks, foolbox and a forward and backward pass."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

import convlens
from benchmarks import networks
from benchmarks.floors import Floor, bare_forward_pass, forward_and_backward, freeze, measure_floor
from benchmarks.tables import METHOD, Entry, Row, compare, print_remarks, print_table, write_rows
from benchmarks.timing import Work

TITLE = (
    f"FGSM without scoring, {networks.BATCH_SIZE} images of {networks.IMAGE_SIZE} pixels, "
    f"in units of a forward pass and a backward pass to the images"
)
SCORED_TITLE = (
    "The same with scoring, in units of a forward and backward pass and a forward pass per epsilon"
)
NAMES = networks.NAMES[:2]  # on VGG-16 all of it takes twice as long as on the two others together
COUNTS = (1, 5)  # of epsilons
SCORED = 5  # epsilons that are scored
TARGET = 1.1  # floors, whatever the number of epsilons
HOW = (
    "convlens: score=False, network not frozen; one call for all epsilons and all images built",
    f"peers: on {NAMES[0]} only, as they run the network again for each epsilon",
    f"scored: images and predictions at {SCORED} epsilons, beside a forward and backward pass and "
    f"{SCORED} forward passes; convlens without its control of random signs (control=False)",
    "torchattacks: network frozen, classes passed in; an attack for each epsilon",
    "foolbox: network frozen, classes passed in; one call for all epsilons, which also scores the "
    "images; run() is the attack alone, called for each epsilon",
)
MAX_DIFFERENT = 1e-3  # largest share of pixels that may differ from torchattacks'

Images = Callable[[], list[Tensor]]


def run() -> None:
    """Measure, print and write the results."""
    rows: list[Row] = []
    remarks = list(HOW)
    for name in NAMES:
        floor = measure_floor(
            "forward and backward", forward_and_backward, networks.build(name), networks.images()
        )
        remarks.append(f"{name}, {floor.describe()}")
        remarks.append(f"{name}, images: {_compare_with_peer(name, floor)}")
        network_rows = compare(name, floor.name, floor.work, _entries(name, floor))
        print_table(f"{TITLE}: {name}", network_rows)
        rows += network_rows
        network_rows = compare(
            name,
            "forward, backward, scoring",
            _scored_floor(floor),
            _scored_entries(name, floor),
        )
        print_table(f"{SCORED_TITLE}: {name}", network_rows)
        rows += network_rows
    print_remarks((METHOD, *remarks))
    write_rows("fgsm", rows, remarks)


def _entries(name: str, floor: Floor) -> list[Entry]:
    peers: dict[str, Callable[[Floor, Sequence[float]], Work]] = {
        "torchattacks": _torchattacks,
        "foolbox run()": _foolbox_run,
        "foolbox": _foolbox,
    }
    ours = [
        Entry(_task(count), "convlens", partial(_ours, floor, _epsilons(count)), TARGET)
        for count in COUNTS
    ]
    theirs = [
        Entry(_task(count), library, partial(make, floor, _epsilons(count)))
        for count in COUNTS
        for library, make in peers.items()
    ]
    return ours + theirs if name == NAMES[0] else ours


def _scored_floor(floor: Floor) -> Work:
    """A forward and backward pass, and a forward pass for each epsilon."""
    forward = bare_forward_pass(floor.network, floor.images)

    def work() -> None:
        floor.work()
        for _ in range(SCORED):
            forward()

    return work


def _scored_entries(name: str, floor: Floor) -> list[Entry]:
    task, epsilons = f"{_task(SCORED)}, scored", _epsilons(SCORED)
    model = convlens.wrap(floor.network)
    ours = Entry(
        task,
        "convlens",
        lambda: lambda: convlens.fgsm(model, floor.images, epsilons, control=False),
        TARGET,
    )
    foolbox = Entry(task, "foolbox", partial(_foolbox, floor, epsilons))
    return [ours, foolbox] if name == NAMES[0] else [ours]


def _task(count: int) -> str:
    return "1 epsilon" if count == 1 else f"{count} epsilons"


def _epsilons(count: int) -> list[float]:
    return [level / 255 for level in range(1, count + 1)]


def _ours(floor: Floor, epsilons: Sequence[float]) -> Images:
    """As a user calls it: the class is the predicted one, the parameters are not frozen."""
    model = convlens.wrap(floor.network)

    def work() -> list[Tensor]:
        attack = convlens.fgsm(model, floor.images, epsilons, score=False)
        return [attack.adversarial(index) for index in range(len(epsilons))]

    return work


def _torchattacks(floor: Floor, epsilons: Sequence[float]) -> Images:
    from torchattacks import FGSM

    network, labels = freeze(floor.network), _labels(floor)
    attacks = [FGSM(network, eps=epsilon) for epsilon in epsilons]
    return lambda: [attack(floor.images, labels) for attack in attacks]


def _foolbox(floor: Floor, epsilons: Sequence[float]) -> Work:
    import foolbox

    network, labels = freeze(floor.network), _labels(floor)
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device=floor.images.device)
    attack = foolbox.attacks.LinfFastGradientAttack()
    return lambda: attack(model, floor.images, labels, epsilons=list(epsilons))


def _foolbox_run(floor: Floor, epsilons: Sequence[float]) -> Work:
    """The attack alone, since the documented call always scores the images."""
    import foolbox

    network, labels = freeze(floor.network), _labels(floor)
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device=floor.images.device)
    attack = foolbox.attacks.LinfFastGradientAttack()
    return lambda: [
        attack.run(model, floor.images, labels, epsilon=epsilon) for epsilon in epsilons
    ]


def _labels(floor: Floor) -> Tensor:
    """The predicted classes `(N,)`, which the peers take as an argument."""
    with torch.no_grad():
        return floor.network(floor.images).argmax(dim=1)


def _compare_with_peer(name: str, floor: Floor) -> str:
    """Check that convlens and torchattacks do the same work: compare their images."""
    epsilons = _epsilons(2)
    try:
        theirs = torch.stack(_torchattacks(floor, epsilons)())
    except ImportError as error:
        return f"not compared, torchattacks is not installed: {error}"
    ours = torch.stack(_ours(floor, epsilons)())
    share = float(((ours - theirs).abs() > 1e-6).float().mean())
    if not share <= MAX_DIFFERENT:
        raise RuntimeError(
            f"{name}: {share:.2g} of the pixels differ from torchattacks', more than "
            f"{MAX_DIFFERENT:g}; the times would compare different work"
        )
    return f"equal to torchattacks' but for {share:.1g} of the pixels"
