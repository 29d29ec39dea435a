"""Grad-CAM for one class and for ten, beside one bare forward pass and three peers.

And how many forward passes the evidence of an image takes, and how memory grows over many calls.
"""

import copy
import gc
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import convlens
from benchmarks import networks
from benchmarks.floors import Floor, bare_pass, floor, freeze
from benchmarks.tables import METHOD, Entry, Row, compare, show, tell, write
from benchmarks.timing import Work

TITLE = f"Grad-CAM, {networks.BATCH} images of {networks.SIZE} pixels, in bare forward passes"
TARGETS = {1: 1.15, 10: 1.5}  # by number of classes, in bare forward passes
HOW = (
    "convlens: at its defaults, network not frozen; all classes in one call",
    "captum: the same layer, network frozen, so that its graph starts there; a call for each class",
    "torchcam: the layer of grad-cam's README; one pass, then a gradient for each class",
    "grad-cam: the layer of its README; a call for each class",
)
_STATM = Path("/proc/self/statm")
PASSES = 48  # of the evidence of one image and class, at most
CALLS = 100, 1000  # after which memory is looked at
GROWTH = 1.0  # megabytes between them, at most
AGREEMENT = 1e-3  # greatest difference to captum's maps, of the largest value


def run() -> None:
    """Measure, print and keep."""
    rows: list[Row] = []
    remarks = list(HOW)
    for name in networks.NAMES:
        least = floor("bare forward pass", bare_pass, networks.build(name), networks.images())
        remarks.append(f"{name}, {least.describe()}")
        remarks.append(f"{name}, maps: {_agreement(name, least)}")
        measured = compare(name, least.what, least.work, _entries(name, least))
        show(f"{TITLE}: {name}", measured)
        rows += measured
    remarks += [_passes(), _memory()]
    tell((METHOD, *remarks))
    print(f"written: {write('gradcam', rows, remarks)}")


def _tiny() -> tuple[convlens.Model, Tensor]:
    """A model so small that what a call leaves behind would show, and images."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10),
    )  # fmt: skip
    return convlens.wrap(network, size=32), torch.rand(2, 3, 32, 32)


def _passes() -> str:
    """Images that the network is given for deletion and insertion, with both baselines."""
    model, images = _tiny()
    seen: list[int] = []
    cam = convlens.gradcam(model, images[:1])
    handle = model.network.register_forward_pre_hook(
        lambda module, given: seen.append(len(given[0]))
    )
    convlens.deletion_insertion(model, cam)
    handle.remove()
    verdict = "met" if sum(seen) <= PASSES else "MISSED"
    return (
        f"evidence of one image and class: {sum(seen)} forward passes in {len(seen)} batches "
        f"(at most {PASSES}: {verdict})"
    )


def _memory() -> str:
    """How the memory of this process grows over calls of Grad-CAM."""
    if not _STATM.is_file():
        return "memory: this system does not tell it"
    model, images = _tiny()
    sizes = []
    done = 0
    for count in CALLS:
        for _ in range(count - done):
            convlens.gradcam(model, images, classes=[0, 1, 2])
        done = count
        gc.collect()
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
        sizes.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
    grown = sizes[1] - sizes[0]
    return (
        f"memory: {sizes[0]:.1f} MB after {CALLS[0]} calls, {sizes[1]:.1f} MB after {CALLS[1]:,}, "
        f"{grown:+.2f} MB (at most {GROWTH:g}: {'met' if grown <= GROWTH else 'MISSED'})"
    )


def _entries(name: str, least: Floor) -> list[Entry]:
    peers: dict[str, Callable[..., Work]] = {
        "captum": _captum,
        "torchcam": _torchcam,
        "grad-cam": _grad_cam,
    }
    ours = [
        Entry(_task(count), "convlens", partial(_ours, least, range(count)), target)
        for count, target in TARGETS.items()
    ]
    theirs = [
        Entry(_task(count), who, partial(make, name, least, range(count)))
        for count in TARGETS
        for who, make in peers.items()
    ]
    return ours + theirs


def _task(count: int) -> str:
    return "1 class" if count == 1 else f"{count} classes"


def _ours(least: Floor, classes: Sequence[int]) -> Work:
    model = convlens.wrap(least.network)
    return lambda: convlens.gradcam(model, least.images, classes=list(classes))


def _captum(name: str, least: Floor, classes: Sequence[int]) -> Callable[[], list[Tensor]]:
    """Maps `(N, 1, h, w)` for each class.

    Where nothing below the layer needs gradients captum starts its graph at the layer, so the
    network is frozen. It takes one class for each image and call.
    """
    from captum.attr import LayerGradCam

    network = freeze(least.network)
    layer, at_input = _before_non_linearity(name, network)
    method = LayerGradCam(network, layer)
    return lambda: [
        method.attribute(least.images, target=one, attribute_to_layer_input=at_input)
        for one in classes
    ]


def _torchcam(name: str, least: Floor, classes: Sequence[int]) -> Work:
    """One forward pass, then a gradient for each class from the graph that was retained.

    It needs parameters that are not frozen, since it keeps the graph of the network itself.
    """
    from torchcam.methods import GradCAM

    network = copy.deepcopy(least.network)
    method = GradCAM(network, _documented_layer(name, network))
    batch = len(least.images)

    def work() -> object:
        scores = network(least.images)
        return [method([one] * batch, scores, retain_graph=one != classes[-1]) for one in classes]

    return work


def _grad_cam(name: str, least: Floor, classes: Sequence[int]) -> Work:
    """Built once and used again, as its README says; it needs parameters that are not frozen."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    network = copy.deepcopy(least.network)
    method = GradCAM(model=network, target_layers=[_documented_layer(name, network)])
    batch = len(least.images)
    return lambda: [
        method(input_tensor=least.images, targets=[ClassifierOutputTarget(one)] * batch)
        for one in classes
    ]


def _before_non_linearity(name: str, network: nn.Module) -> tuple[nn.Module, bool]:
    """The module at which the final pre-activation stands, and whether it is its input."""
    if name == "resnet50":
        # No module gives the sum; the block's relu, in its last run, is given it.
        return network.get_submodule("layer4.2.relu"), True
    return network.get_submodule(
        {"vgg16": "features.28", "mobilenet_v2": "features.18.1"}[name]
    ), False


def _documented_layer(name: str, network: nn.Module) -> nn.Module:
    """The layer that grad-cam's README names for these networks."""
    return network.get_submodule(
        {"vgg16": "features.30", "resnet50": "layer4.2", "mobilenet_v2": "features.18"}[name]
    )


def _agreement(name: str, least: Floor) -> str:
    """That the maps are captum's, so that the work is the same work."""
    classes = range(max(TARGETS))
    try:
        theirs = torch.cat(_captum(name, least, classes)(), dim=1).detach()
    except ImportError as error:
        return f"not compared, captum is not installed: {error}"
    found = convlens.gradcam(convlens.wrap(least.network), least.images, classes=list(classes))
    difference = float((found.maps - theirs).abs().max() / theirs.abs().max())
    if not difference <= AGREEMENT:
        raise RuntimeError(
            f"{name}: maps differ from captum's by {difference:.2g} of the largest value, "
            f"over {AGREEMENT:g}; the times would compare different work"
        )
    return f"as captum's at {' and '.join(found.nodes)}, to {difference:.1g} of the largest value"
