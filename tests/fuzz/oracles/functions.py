"""Every other public function runs or refuses; results do not depend on calls before them."""

import random
from collections.abc import Callable

import torch
from torch import Tensor

import convlens
from fuzz.case import Case, Mismatch

FUNCTIONS: dict[str, Callable[[Case], object]] = {
    "gradcam_layers": lambda case: convlens.gradcam_layers(case.model, case.images[:2]),
    "randomization": lambda case: convlens.randomization(
        case.model, case.images[:2], stages=2, draws=1
    ),
    "fgsm": lambda case: convlens.fgsm(case.model, case.images[:2]),
    "pgd": lambda case: convlens.pgd(case.model, case.images[:2], steps=2),
    "filters": lambda case: convlens.filters(case.model),
    "fit_gabor": lambda case: convlens.fit_gabor(case.model),
    "equivariance": lambda case: convlens.equivariance(case.model, case.images[:2], shifts=[1]),
    "shift": lambda case: convlens.shift(case.model, case.images[:2], shifts=[1], every=2),
    "robustness": lambda case: convlens.robustness(
        case.model, case.images[:2], ["8/255"], pgd_steps=2
    ),
    "dream": lambda case: convlens.dream(case.model, case.images[:1], octaves=1, steps=1),
    "orientation_tuning": lambda case: convlens.orientation_tuning(
        case.model, layer=case.program.blocks[0].layer, orientations=2, phases=4
    ),
    "feature_maps": lambda case: convlens.feature_maps(case.model, case.images[:1]),
    "maximize": lambda case: convlens.maximize(
        case.model, [f"{case.program.blocks[-1].layer}:0", "0"], steps=2
    ),
    "effective_field": lambda case: convlens.effective_field(case.model, case.images[:2]),
    "deletion_insertion": lambda case: convlens.deletion_insertion(
        case.model, convlens.gradcam(case.model, case.images[:2]), steps=2
    ),
    "internal_changes": lambda case: convlens.internal_changes(
        case.model, convlens.fgsm(case.model, case.images[:2])
    ),
    "invariance": lambda case: convlens.invariance(
        case.model, case.images[:3], layer=case.program.blocks[-1].layer, top=1
    ),
}


def check(case: Case, *, most: int) -> None:
    """Call some functions; a Grad-CAM after them, in either memory format, is the one before."""
    images = case.images[:2]
    draw = random.Random(case.program.seed)
    before = None
    with case.refusing("gradcam again"):
        before = convlens.gradcam(case.model, images)
    for name in draw.sample(tuple(FUNCTIONS), most):
        if not case.program.blocks and name in ("orientation_tuning", "maximize", "invariance"):
            continue
        with case.refusing(name):
            FUNCTIONS[name](case)
    if before is None:
        return
    noise = own_noise(case, images)
    for memory_format in (torch.channels_last, torch.contiguous_format):
        again = convlens.gradcam(case.model, images.contiguous(memory_format=memory_format))
        same = again.nodes == before.nodes and torch.allclose(
            again.maps,
            before.maps,
            rtol=1e-3,
            atol=(1e-5 + 10 * noise) * float(before.maps.abs().max() + 1e-3),
        )
        if not same:
            raise Mismatch(
                f"Grad-CAM depends on the calls before it or on {memory_format}: {again.nodes} "
                f"{again.maps.flatten()[:4]}, before {before.nodes} {before.maps.flatten()[:4]}"
            )


def own_noise(case: Case, images: Tensor) -> float:
    """How much the network's own logits depend on the memory format, relative to the largest.

    A normalization of almost constant values magnifies the rounding of a convolution.
    """
    formats = (torch.contiguous_format, torch.channels_last)
    with torch.no_grad():
        first, second = (
            case.program.run(case.network, images.contiguous(memory_format=layout))[
                case.program.logits
            ]
            for layout in formats
        )
    return float((first - second).abs().max() / (first.abs().max() + 1e-12))
