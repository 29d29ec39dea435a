"""The configured preprocessing of a model and its alternatives, one for each usual mistake.

The alternatives are other normalizations, blue-green-red channels, and other resizing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from convlens.data.photos import PhotoLike, read_photo
from convlens.errors import PhotoError
from convlens.models.model import Model

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# The input of the network for a pixel u of 0..1, as (mean, std) of (u - mean) / std.
_NORMALIZATIONS = {
    "0..1, nothing subtracted": ((0.0,) * 3, (1.0,) * 3),
    "ImageNet's mean and deviation": (_IMAGENET_MEAN, _IMAGENET_STD),
    "mean and deviation 0.5 (-1..1)": ((0.5,) * 3, (0.5,) * 3),
    "0..255, nothing subtracted": ((0.0,) * 3, (1 / 255,) * 3),
    "0..255, ImageNet's mean subtracted": (_IMAGENET_MEAN, (1 / 255,) * 3),
}
# The short side before the crop, as a multiple of the crop; None: squashed.
_RESIZES = {
    "squashed to size, nothing cropped": None,
    "short side as large as the crop": 1.0,
    "short side 8/7 of the crop": 8 / 7,
}


@dataclass(frozen=True, eq=False)
class Variant:
    """A way to preprocess photos.

    Attributes:
        name: what differs from the configured way.
        model: the model with the normalization of this variant.
        resize: the short side before the crop, in pixels; None: squashed to the size.
        reverse_channels: whether the order of the channels is reversed.
    """

    name: str
    model: Model
    resize: int | None
    reverse_channels: bool = False


def list_variants(model: Model, *, with_resizes: bool) -> list[Variant]:
    """List the configured variant first, then its alternatives.

    Args:
        model: the model with its configured preprocessing.
        with_resizes: whether to include other resizes, which need photos rather than images.
    """
    resize = model.preprocessing.resize
    configured, others = _list_normalizations(model)
    color = model.channels == 3
    variants = [Variant(f"as configured: {configured}", model, resize)]
    variants += [
        Variant(f"{name}, RGB" if color else name, normalized, resize)
        for name, normalized in others.items()
    ]
    if color:
        for name, normalized in {f"as configured ({configured})": model, **others}.items():
            reversed_model = replace(
                normalized, mean=normalized.mean[::-1], std=normalized.std[::-1]
            )
            variants.append(Variant(f"{name}, BGR", reversed_model, resize, reverse_channels=True))
    if with_resizes:
        for name, multiple in _RESIZES.items():
            pixels = round(multiple * max(model.size)) if multiple is not None else None
            if pixels != resize:
                variants.append(Variant(name, model, pixels))
    return variants


def prepare_variants(
    model: Model,
    photos: Sequence[PhotoLike] | Tensor,
    photo_numbers: Sequence[int],
    variants: Sequence[Variant],
    *,
    strict: bool,
) -> tuple[dict[int | None, Tensor], list[int], list[str]]:
    """Prepare the images of all variants; each photo is decoded once and not kept.

    Args:
        model: the model with its configured preprocessing.
        photos: photos, or images `(N, C, H, W)`.
        photo_numbers: the numbers of the photos to prepare.
        variants: from `list_variants`.
        strict: raise for a photo that cannot be read instead of leaving it out.

    Returns:
        The images `(N, C, H, W)` by resize, the numbers of their photos, and a line for each photo
        that cannot be read.

    Raises:
        PhotoError: if a photo cannot be read, with `strict`.
    """
    if isinstance(photos, Tensor):
        return {model.preprocessing.resize: photos[list(photo_numbers)]}, list(photo_numbers), []
    resized_models = {
        variant.resize: replace(
            model, preprocessing=replace(model.preprocessing, resize=variant.resize)
        )
        for variant in variants
    }
    images: dict[int | None, list[Tensor]] = {resize: [] for resize in resized_models}
    readable, skipped = [], []
    for number in photo_numbers:
        try:
            photo = read_photo(photos[number])
        except PhotoError as error:
            if strict:
                raise
            skipped.append(str(error))
            continue
        readable.append(number)
        for resize, resized_model in resized_models.items():
            images[resize].append(resized_model.prepare(photo))
    batches = {resize: torch.cat(parts) for resize, parts in images.items() if parts}
    return batches, readable, skipped


def _list_normalizations(model: Model) -> tuple[str, dict[str, Model]]:
    """The name of the configured normalization, and a model with each of the others."""
    low, span, channels = model.bounds[0], model.span, model.channels
    configured = [(values * channels)[:channels] for values in (model.mean, model.std)]
    has_fixed_mean = model.center == "data"
    name_of_configured = "a normalization of its own" if has_fixed_mean else "each image's own mean"
    others: dict[str, Model] = {}
    for name, (mean, std) in _NORMALIZATIONS.items():
        if channels != 3 and len(set(mean)) > 1:
            continue  # ImageNet's numbers are for red, green and blue
        means = tuple(low + span * mean[c % 3] for c in range(channels))
        deviations = tuple(span * std[c % 3] for c in range(channels))
        close = torch.allclose(
            torch.tensor(configured, dtype=torch.float32),
            torch.tensor([means, deviations], dtype=torch.float32),
            rtol=1e-2,
        )
        if close and has_fixed_mean:
            name_of_configured = name
        else:
            others[name] = replace(model, mean=means, std=deviations, center="data")
    return name_of_configured, others
