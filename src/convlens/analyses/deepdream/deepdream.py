"""DeepDream: a photo changed so that a layer responds more strongly to it.

Steps along the gradient of the objective (`objective.py`, where the error signal is set) are made
at several sizes of the photo, and the detail that they add is carried from each size to the next
(Mordvintsev, Olah & Tyka, "Inceptionism", 2015).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from convlens.analyses.deepdream.objective import (
    activation_objective,
    compute_guide_features,
    find_objective_node,
)
from convlens.analyses.deepdream.octave_loop import OctaveLoop
from convlens.analyses.deepdream.octaves import load_image, octave_sizes, only_photo, plan_octaves
from convlens.analyses.deepdream.result import Dream
from convlens.capture.folded_networks import fold_batch_norms
from convlens.capture.gradients import enable_gradients
from convlens.errors import ConvlensError
from convlens.models.model import ImagesLike, Model, check_model
from convlens.results.network_result import keep_warnings
from convlens.runtime.callbacks import or_ignore
from convlens.runtime.guard import preserve_network
from convlens.runtime.interrupts import catch_interrupts
from convlens.tracing.selection import Side

TILE = 640  # pixels of the side of a tile


@keep_warnings
@enable_gradients()
@fold_batch_norms()
def dream(
    model: Model,
    photo: ImagesLike,
    *,
    layer: str | None = None,
    side: Side = "pre",
    channel: int | None = None,
    guide: ImagesLike | None = None,
    octaves: int = 4,
    scale: float = 1.4,
    steps: int = 10,
    step: float = 1.5,
    jitter: int = 32,
    image_size: int | None = None,
    tile: int | None = TILE,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    preview: Callable[[Tensor], None] | None = None,
) -> Dream:
    """DeepDream: change a photo so that a layer responds more strongly to it.

    The error signal at the layer is set to its activations themselves and propagated back to the
    pixels (Bishop & Bishop, section 10.3.5). Each step is divided by the mean absolute gradient.
    The photo keeps its own size instead of the size of the model's images. A large photo is
    computed in tiles, whose gradient is that of the whole photo. An interrupt ends the dream with
    the image up to then, and the result says where.

    Args:
        model: left untouched.
        photo: a path, a PIL image, an array `(H, W, C)`, or an image `(C, H, W)` or
            `(1, C, H, W)` inside the bounds; also a sequence that holds one of them.
        layer: name of a layer or a node. Default: the last convolution whose units see no more than
            an image of the model's own size.
        side: side of the layer: what its non-linearity consumes (`pre`, the chapter's definition)
            or returns (`post`), or what the layer itself returns (`output`). Default: `pre`.
        channel: strengthen this channel alone. Default: all channels.
        guide: a photo, or an image inside the bounds. Each position is pulled toward the guide's
            feature with the largest dot product, instead of toward itself. The features are taken
            behind the non-linearity, so that they hold what the guide shows and not what it lacks.
            A photo is prepared as the model prepares photos. Default: none.
        octaves: number of sizes, at least 1; default 4.
        scale: ratio of two successive sizes, above 1; default 1.4.
        steps: number of steps at each size, at least 1; default 10.
        step: mean change of a pixel in one step, in gray levels (1/255 of the span); default 1.5.
        jitter: largest random shift of the photo before each step, in pixels. Pixels that leave it
            on one side enter on the other. Default: 32.
        image_size: longer side of the dream in pixels; default: that of the photo.
        tile: largest height and width in pixels that are computed at once; if twice the receptive
            field is larger, that counts. None: everything at once. Default: 640.
        seed: seed of the shifts; default 0.
        progress: called with the number of tiles done in all steps, and their total. In a photo
            that is computed at once, each step has one tile. Default: not called.
        preview: called after each step with the image of this size as it is then, float32
            `(C, H, W)`. Default: not called.

    Returns:
        The dream and the objective at every step.

    Raises:
        PhotoError: the photo cannot be read.
        ConvlensError: the layer or channel is unknown, an octave is too small for the layer, an
            option is out of range, or the gradient of the first step is zero or NaN.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
        >>> model = convlens.wrap(network, size=16)
        >>> photo = torch.rand(1, 3, 24, 24)
        >>> result = convlens.dream(model, photo, layer="0", octaves=2, steps=2)
        >>> result.sizes
        ((17, 17), (24, 24))
        >>> bool((result.rise > 1).all())
        True
    """
    check_model(model)
    _check_options(octaves, scale, steps, step, jitter, image_size, tile)
    if channel is not None and guide is not None:
        raise ConvlensError("a guide and a channel do not go together; give one of them")
    start = load_image(model, photo, image_size)
    node = find_objective_node(model, layer, channel, side)
    sizes = octave_sizes((start.shape[2], start.shape[3]), octaves, scale)
    with preserve_network(model.network):
        plans = plan_octaves(model, node, sizes, scale, tile)
        guide_image = None if guide is None else _load_guide(model, guide)
        guide_features = (
            None if guide_image is None else compute_guide_features(model, node, guide_image)
        )
        loop = OctaveLoop(
            activation_objective=activation_objective(channel, guide_features),
            plans=plans,
            objective=torch.full((octaves, steps + 1), math.nan, dtype=torch.float64),
            step=step * model.span / 255,
            jitter=jitter,
            bounds=model.bounds,
            generator=torch.Generator().manual_seed(seed),
            progress=or_ignore(progress),
            preview=preview,
        )
        with catch_interrupts() as is_interrupted:
            image = loop.run(start, is_interrupted)
            photo_objective = None
            if not loop.stopped:
                photo_objective = plans[-1].evaluate(
                    start, loop.activation_objective, is_interrupted=is_interrupted
                )
            if photo_objective is None and not loop.stopped:
                loop.stopped, loop.interrupted = "interrupted after the last step", True
    return Dream(
        photo=start[0].float().cpu(),
        image=image[0].float().cpu(),
        layer=node.layer,
        node_name=node.node_name,
        side=node.side,
        reason=node.reason,
        channel=channel,
        guide=None if guide_image is None else guide_image[0].float().cpu(),
        sizes=tuple(sizes),
        objective=loop.objective,
        photo_objective=math.nan if photo_objective is None else photo_objective,
        scale=scale,
        step=step,
        jitter=jitter,
        seed=seed,
        tiles=len(plans[-1].tiles),
        stopped=loop.stopped,
        interrupted=loop.interrupted,
        bounds=model.bounds,
        left_out=node.left_out,
    )


def _load_guide(model: Model, guide: ImagesLike) -> Tensor:
    guide = only_photo(guide)
    return load_image(model, guide, None) if isinstance(guide, Tensor) else model.prepare(guide)


def _check_options(
    octaves: int,
    scale: float,
    steps: int,
    step: float,
    jitter: int,
    image_size: int | None,
    tile: int | None,
) -> None:
    for name, value, least in (
        ("octaves", octaves, 1), ("steps", steps, 1), ("jitter", jitter, 0),
        ("image size", image_size, 1), ("tile", tile, 1),
    ):  # fmt: skip
        if value is not None and value < least:
            raise ConvlensError(f"{name} {value}; give at least {least}")
    if not 1 < scale < math.inf:
        raise ConvlensError(f"scale {scale:g} between octaves; give more than 1")
    if not 0 < step < math.inf:
        raise ConvlensError(f"step {step:g}; give more than 0, in gray levels")
