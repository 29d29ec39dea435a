"""Grad-CAM for 1 and 10 classes beside captum, torchcam, grad-cam and a bare forward pass.

It also counts the forward passes of deletion and insertion for an image, and measures how memory
grows over many calls.
"""

import copy
import gc
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import convlens
from benchmarks import networks
from benchmarks.floors import Floor, bare_forward_pass, freeze, measure_floor
from benchmarks.tables import METHOD, Entry, Row, compare, print_remarks, print_table, write_rows
from benchmarks.timing import Spread, Work, measure
from convlens.runtime.guard import preserve_network

TITLE = (
    f"Grad-CAM, {networks.BATCH_SIZE} images of {networks.IMAGE_SIZE} pixels, "
    "in units of a bare forward pass"
)
# By number of classes, the peer whose ratio in the same run is the target.
PEERS = {1: "captum", 10: "torchcam"}
# Timed on the quickest network only: what calls the network again for each class or runs all of it
# backward. The others are what the targets compare with.
SLOW = {("captum", 10), ("torchcam", 1), ("grad-cam", 1), ("grad-cam", 10)}
HOW = (
    "convlens: at its defaults, network not frozen; all classes in one call; it runs the images in "
    "parts (convlens.tracing.image_parts), the floor and the peers run them all at once",
    "captum: the same layer, network frozen, so that its graph starts there; a call for each class",
    "torchcam: the layer of grad-cam's README; a forward pass, then a gradient for each class",
    "grad-cam: the layer of its README; a call for each class",
    "targets: the ratio of captum for one class and of torchcam for ten, in the same run",
    "prototype: the passes alone, network frozen: a forward pass whose graph starts at captum's "
    "layer, one backward pass of all classes, and the weighted sums",
)
_STATM = Path("/proc/self/statm")
MAX_PASSES = 48  # forward passes of deletion and insertion for an image and class
CALLS = 100, 1000  # after these numbers of calls memory is measured
MAX_GROWTH = 1.0  # of memory between them, in megabytes
MAX_DIFFERENCE = 1e-3  # to captum's maps, as a share of the largest value


def run() -> None:
    """Measure, print and write the results."""
    rows: list[Row] = []
    remarks = list(HOW)
    for name in networks.NAMES:
        floor = measure_floor(
            "bare forward pass", bare_forward_pass, networks.build(name), networks.images()
        )
        remarks.append(f"{name}, {floor.describe()}")
        remarks.append(f"{name}, maps: {_compare_with_peer(name, floor)}")
        if name == networks.NAMES[0]:  # its share is largest on the quickest network
            remarks.append(f"{name}, guard: {_measure_guard(floor)}")
        network_rows = _set_targets(compare(name, floor.name, floor.work, _entries(name, floor)))
        print_table(f"{TITLE}: {name}", network_rows)
        rows += network_rows
    remarks += [_count_passes(), _measure_memory()]
    print_remarks((METHOD, *remarks))
    write_rows("gradcam", rows, remarks)


def _tiny_model() -> tuple[convlens.Model, Tensor]:
    """A small model, whose calls take so little memory that a leak is visible, and images."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10),
    )  # fmt: skip
    return convlens.wrap(network, size=32), torch.rand(2, 3, 32, 32)


def _count_passes() -> str:
    """Forward passes of deletion and insertion for an image and class, with both baselines."""
    model, images = _tiny_model()
    batch_sizes: list[int] = []
    cam = convlens.gradcam(model, images[:1])
    handle = model.network.register_forward_pre_hook(
        lambda module, inputs: batch_sizes.append(len(inputs[0]))
    )
    convlens.deletion_insertion(model, cam)
    handle.remove()
    verdict = "met" if sum(batch_sizes) <= MAX_PASSES else "MISSED"
    return (
        f"deletion and insertion for an image and class: {sum(batch_sizes)} forward passes in "
        f"{len(batch_sizes)} batches (at most {MAX_PASSES}: {verdict})"
    )


def _measure_memory() -> str:
    """Growth of the memory of this process over calls of Grad-CAM."""
    if not _STATM.is_file():
        return f"memory: not measured, this system has no {_STATM}"
    model, images = _tiny_model()
    sizes = []
    done = 0
    for count in CALLS:
        for _ in range(count - done):
            convlens.gradcam(model, images, classes=[0, 1, 2])
        done = count
        gc.collect()
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
        sizes.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
    growth = sizes[1] - sizes[0]
    return (
        f"memory: {sizes[0]:.1f} MB after {CALLS[0]} calls, {sizes[1]:.1f} MB after {CALLS[1]:,}, "
        f"{growth:+.2f} MB (at most {MAX_GROWTH:g}: {'met' if growth <= MAX_GROWTH else 'MISSED'})"
    )


def _entries(name: str, floor: Floor) -> list[Entry]:
    peers: dict[str, Callable[..., Work]] = {
        "captum": _captum,
        "torchcam": _torchcam,
        "grad-cam": _grad_cam,
        "prototype": _prototype,
    }
    ours = [Entry(_task(count), "convlens", partial(_ours, floor, range(count))) for count in PEERS]
    theirs = [
        Entry(_task(count), library, partial(make, name, floor, range(count)))
        for count in PEERS
        for library, make in peers.items()
        if name == networks.NAMES[0] or (library, count) not in SLOW
    ]
    return ours + theirs


def _set_targets(rows: Sequence[Row]) -> list[Row]:
    """The rows, those of convlens with the ratio of their peer as the target."""
    ratios = {(row.task, row.library): row.pair.wall_ratio.median for row in rows if row.pair}
    peers = {_task(count): ratios.get((_task(count), peer)) for count, peer in PEERS.items()}
    return [
        replace(row, target=peers[row.task]) if row.library == "convlens" else row for row in rows
    ]


def _task(count: int) -> str:
    return "1 class" if count == 1 else f"{count} classes"


def _ours(floor: Floor, classes: Sequence[int]) -> Work:
    model = convlens.wrap(floor.network)
    return lambda: convlens.gradcam(model, floor.images, classes=list(classes))


def _captum(name: str, floor: Floor, classes: Sequence[int]) -> Callable[[], list[Tensor]]:
    """Maps `(N, 1, h, w)` for each class.

    The network is frozen, because captum then starts its graph at the layer. A call takes a class
    for each image.
    """
    from captum.attr import LayerGradCam

    network = freeze(floor.network)
    layer, at_input = _before_non_linearity(name, network)
    method = LayerGradCam(network, layer)
    return lambda: [
        method.attribute(floor.images, target=target, attribute_to_layer_input=at_input)
        for target in classes
    ]


def _torchcam(name: str, floor: Floor, classes: Sequence[int]) -> Work:
    """A forward pass, then a gradient for each class from the retained graph.

    torchcam needs parameters that are not frozen, because it uses the graph of the whole network.
    """
    from torchcam.methods import GradCAM

    network = copy.deepcopy(floor.network)
    method = GradCAM(network, _documented_layer(name, network))
    batch = len(floor.images)

    def work() -> object:
        scores = network(floor.images)
        return [
            method([target] * batch, scores, retain_graph=target != classes[-1])
            for target in classes
        ]

    return work


def _grad_cam(name: str, floor: Floor, classes: Sequence[int]) -> Work:
    """Built once and called again, as its README says; needs parameters that are not frozen."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    network = copy.deepcopy(floor.network)
    method = GradCAM(model=network, target_layers=[_documented_layer(name, network)])
    batch = len(floor.images)
    return lambda: [
        method(input_tensor=floor.images, targets=[ClassifierOutputTarget(target)] * batch)
        for target in classes
    ]


def _prototype(name: str, floor: Floor, classes: Sequence[int]) -> Work:
    """Maps `(K, N, h, w)` of K classes by the least code, without checks, scores or evidence."""
    network = freeze(floor.network)
    layer, at_input = _before_non_linearity(name, network)
    batch = len(floor.images)
    activations: list[Tensor] = []

    def begin_graph(tensor: Tensor) -> Tensor:
        activations.append(tensor.detach().requires_grad_())
        return activations[-1].clone()  # which the network may overwrite

    if at_input:
        layer.register_forward_pre_hook(lambda module, inputs: (begin_graph(inputs[0]),))
    else:
        layer.register_forward_hook(lambda module, inputs, output: begin_graph(output))

    def work() -> Tensor:
        activations.clear()
        scores = network(floor.images)
        directions = torch.zeros(len(classes), batch, scores.shape[1])
        directions[range(len(classes)), :, list(classes)] = 1
        (gradients,) = torch.autograd.grad(
            scores, activations[-1], directions if len(classes) > 1 else directions[0],
            is_grads_batched=len(classes) > 1,
        )  # fmt: skip
        alpha = gradients.view(len(classes), *activations[-1].shape).mean(dim=(3, 4))
        return torch.einsum("knc,nchw->knhw", alpha, activations[-1].detach())

    return work


def _before_non_linearity(name: str, network: nn.Module) -> tuple[nn.Module, bool]:
    """The module whose output, or input if True, is the last pre-activation."""
    if name == "resnet50":
        # No module returns the sum; it is the input of the last call of the block's relu.
        return network.get_submodule("layer4.2.relu"), True
    return network.get_submodule(
        {"vgg16": "features.28", "mobilenet_v2": "features.18.1"}[name]
    ), False


def _documented_layer(name: str, network: nn.Module) -> nn.Module:
    """The layer that the README of grad-cam names for these networks."""
    return network.get_submodule(
        {"vgg16": "features.30", "resnet50": "layer4.2", "mobilenet_v2": "features.18"}[name]
    )


def _compare_with_peer(name: str, floor: Floor) -> str:
    """Check that convlens and captum do the same work: compare their maps."""
    classes = range(max(PEERS))
    try:
        theirs = torch.cat(_captum(name, floor, classes)(), dim=1).detach()
    except ImportError as error:
        return f"not compared, captum is not installed: {error}"
    cam = convlens.gradcam(convlens.wrap(floor.network), floor.images, classes=list(classes))
    least = _prototype(name, floor, classes)()
    assert isinstance(least, Tensor)
    difference = float((cam.maps - theirs).abs().max() / theirs.abs().max())
    least_difference = float((least.transpose(0, 1) - theirs).abs().max() / theirs.abs().max())
    if not max(difference, least_difference) <= MAX_DIFFERENCE:
        raise RuntimeError(
            f"{name}: maps differ from captum's by {difference:.2g} of the largest value, those of "
            f"the prototype by {least_difference:.2g}, over {MAX_DIFFERENCE:g}; the times would "
            f"compare different work"
        )
    return (
        f"equal to captum's at {' and '.join(cam.nodes)} to within {difference:.1g} of the largest "
        f"value"
    )


def _measure_guard(floor: Floor) -> str:
    """What it costs to leave the network untouched, which is part of every time of convlens."""

    def work() -> None:
        with preserve_network(floor.network):
            pass

    pair = measure(floor.work, {"guard": work})["guard"]
    milliseconds = Spread.of([1e3 * seconds for seconds in pair.own.wall])
    return (
        f"it saves and restores modes, gradients, hooks, attributes and random state in "
        f"{milliseconds:.1f} ms, {pair.wall_ratio:.3f} of a bare forward pass"
    )
