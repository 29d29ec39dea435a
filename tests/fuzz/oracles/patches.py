"""The strongest patches, against a sort of all activations."""

import torch
from torch import Tensor

import convlens
from convlens.analyses.patches.result import LayerPatches
from convlens.tracing.selection import Side
from fuzz.case import Case, Mismatch
from fuzz.oracles.gradcam import is_map

_TOP = 3


def check(case: Case) -> None:
    """Check the patches of layers by name, and of convolutions after their non-linearity."""
    names = [module for module in case.program.module_outputs if is_map(case, module)][-4:]
    attempts: list[tuple[str, Side, str]] = [
        (module, "output", case.program.module_outputs[module]) for module in names
    ]
    attempts += [
        (block.layer, "post", block.post)
        for block in case.program.blocks
        if is_map(case, block.layer)
    ][-3:]
    for layer, side, name in attempts:
        with case.refusing(f"patches {layer} {side}"):
            result = convlens.patches(
                case.model, case.images, layers=[layer], side=side, top=_TOP, show=1
            )
            if case.is_unfollowed(f"patches {layer} {side}", result.warnings):
                continue
            dims = case.trace.spatial_dims(case.trace.find_node(layer))
            place = f"{layer} {side} ({case.program.line_of(name)})"
            _compare(result[layer], case.values[name].movedim(dims, (2, 3)), place)
            # A crop has other first rows than the image, so that the check has to tell them apart.
            check_of_crops = result[layer].crop_check
            if check_of_crops.holds is False and "absolute positions" not in case.program.marks:
                raise Mismatch(
                    f"patches of {place}: the crops have other activations: {check_of_crops}"
                )
    with case.refusing("patches"):
        convlens.patches(case.model, case.images, top=2, show=1)


def _compare(layer_patches: LayerPatches, maps: Tensor, place: str) -> None:
    """Compare values, images and positions with the greatest activation of each image."""
    if layer_patches.channels != maps.shape[1]:
        raise Mismatch(
            f"patches of {place}: {layer_patches.channels} channels, right {maps.shape[1]}"
        )
    count = min(_TOP, len(maps))
    for channel in range(maps.shape[1]):
        strongest = sorted((float(image.max()) for image in maps[:, channel]), reverse=True)[:count]
        values = layer_patches.values[channel, :count]
        tolerance = 1e-5 * float(maps.abs().max() + 1e-3)
        if not torch.allclose(values, torch.tensor(strongest), rtol=1e-4, atol=tolerance):
            raise Mismatch(f"patches of {place}:{channel}: {values.tolist()}, right {strongest}")
        places = zip(
            layer_patches.images[channel],
            layer_patches.rows[channel],
            layer_patches.columns[channel],
            strict=True,
        )
        for value, (image, row, column) in zip(values, list(places)[:count], strict=True):
            value_there = float(maps[image, channel, row, column])
            if abs(value_there - float(value)) > 1e-4 * abs(value_there) + tolerance:
                raise Mismatch(
                    f"patches of {place}:{channel}: {float(value)} at image {int(image)}, "
                    f"{int(row)},{int(column)}, where {value_there} is"
                )
