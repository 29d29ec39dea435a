"""Grad-CAM, against gradients at a value of the program, with the map weighted in plain steps."""

import torch
from torch import Tensor

import convlens
from fuzz.case import Case, Mismatch


def check(case: Case) -> None:
    """Check the maps at the default layer, at named layers, and on both sides of an activation."""
    if case.program.head in ("segmentation", "ensemble"):
        return
    images = case.images[:2]
    attempts: list[tuple[str, dict, str | None]] = [("default", {}, None)]
    attempts += [
        (f"output of {module}", {"layer": module, "side": "output"}, name)
        for module, name in list(case.program.module_outputs.items())[-6:]
        if is_map(case, module)
    ]
    for block in case.program.blocks[-2:]:
        if is_map(case, block.layer):
            attempts.append((f"pre {block.layer}", {"layer": block.layer}, block.pre))
            attempts.append(
                (f"post {block.layer}", {"layer": block.layer, "side": "post"}, block.post)
            )
    classes = case.values[case.program.logits].reshape(len(case.images), -1).shape[1]
    target = case.program.seed % classes
    for place, options, name in attempts:
        with case.refusing(f"gradcam {place}"):
            cam = convlens.gradcam(case.model, images, classes=[target], **options)
            if case.is_unfollowed(f"gradcam {place}", cam.warnings):
                continue
            names = (
                [name]
                if name
                else [case.value_of_node(case.trace.find_node(node)) for node in cam.nodes]
            )
            if None in names:
                continue
            # The map may be read in another layout than that of the values, which is the layer's.
            node = case.trace.find_node(cam.nodes[0] if name is None else options["layer"])
            right, rounding = plain_gradcam(
                case, images, names, target, case.trace.spatial_dims(node)
            )
            if cam.maps[:, 0].shape != right.shape or not bool(
                ((cam.maps[:, 0] - right).abs() <= 1e-3 * right.abs() + rounding).all()
            ):
                raise Mismatch(
                    f"Grad-CAM, {place} ({names}, nodes {cam.nodes}): "
                    f"{tuple(cam.maps[:, 0].shape)} {cam.maps[0, 0].flatten()[:4]}, right "
                    f"{tuple(right.shape)} {right[0].flatten()[:4]}; "
                    f"{'; '.join(map(case.program.line_of, names))}; {case.program.head}"
                )


def is_map(case: Case, module: str) -> bool:
    """Whether convlens takes the output of a module for a map."""
    return (
        module in case.trace and case.trace.spatial_dims(case.trace.find_node(module)) is not None
    )


def plain_gradcam(
    case: Case, images: Tensor, names: list[str], target: int, dims: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """The maps of a class at values that count as one layer, `(N, h, w)`, and their rounding.

    Gradients may add up to almost nothing, so that the rounding is measured by their sizes; below
    1e-8 they are themselves rounding, as logits and activations have sizes of about 1.
    """
    with torch.enable_grad():
        values = case.program.run(case.network, images, leaves=names)
        logits = values[case.program.logits].reshape(len(images), -1)
        leaves = [values[name] for name in names]
        gradients = torch.autograd.grad(logits[:, target].sum(), leaves, allow_unused=True)
    total, sizes = torch.zeros(()), torch.zeros(())
    for leaf, gradient in zip(leaves, gradients, strict=True):
        maps = leaf.detach().movedim(dims, (2, 3))
        slopes = (torch.zeros_like(leaf) if gradient is None else gradient).movedim(dims, (2, 3))
        for channel in range(maps.shape[1]):
            weight = slopes[:, channel].mean((1, 2))
            total = total + weight[:, None, None] * maps[:, channel]
            size = slopes[:, channel].abs().mean((1, 2))
            sizes = sizes + size[:, None, None] * maps[:, channel].abs()
    return total, 1e-4 * sizes.amax((1, 2), keepdim=True) + 1e-8
