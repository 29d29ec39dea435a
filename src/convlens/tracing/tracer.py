"""The function `trace`: the trace of a model for images of some size, made once and then kept.

`trace_images` does the same for an analysis, with the checks of its arguments.
"""

from collections.abc import Hashable
from dataclasses import replace

import torch
from torch import Tensor

from convlens.errors import ConvlensError
from convlens.models.model import ImagesLike, Model, check_model
from convlens.results.network_result import warn
from convlens.tracing.batch_dependence import depends_on_batch
from convlens.tracing.caching.disk_traces import DiskTraces
from convlens.tracing.caching.network_state import network_state
from convlens.tracing.caching.trace_cache import TraceCache, TraceKey
from convlens.tracing.outputs.probability_check import returns_probabilities
from convlens.tracing.recording.recording import Recording
from convlens.tracing.runs import make_trace
from convlens.tracing.trace import Trace


def trace(
    model: Model,
    images: Tensor | None = None,
    *,
    size: tuple[int, int] | None = None,
    partly: bool | str = False,
) -> Trace:
    """Record every operation that a network runs on an image, in evaluation mode.

    A copy of the network runs on fake tensors: nothing is computed, and the network is left
    untouched. It runs on one image, and on two to find the dimension of the images in each node. A
    network whose code depends on its data (`.item()`, branches, numpy) runs on a real image
    instead, and the trace is then valid for that image only.

    Args:
        model: the model.
        images: `(N, C, H, W)`. Their size is used, and the first image where a real one is needed.
            Default: a random image.
        size: height and width in pixels instead of images. Default: the model's own size.
        partly: where the network raises an error on images of that size (a fully connected stage
            that takes another size), trace it as far as it runs. The name of a node: trace it at
            least as far as that node, without a real image if fake tensors get there. Default:
            False.

    Returns:
        The trace, the same one for the same model and size. A network whose results have to be read
        with care (`Trace.warnings`) gives a `ConvlensWarning` in every analysis.

    Raises:
        TraceError: the network does not run on an image of that size.
        ConvlensError: not a Model, images that do not fit it, or a number of labels that is not the
            number of the network's outputs.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU())
        >>> trace = convlens.trace(convlens.wrap(network, size=8))
        >>> node = trace.find_node("1")
        >>> trace.name(node), trace.shape(node), trace.field(node).size
        ('1', (1, 4, 8, 8), (3, 3))
    """
    check_model(model)
    return _trace_checked_model(model, images, size=size, partly=partly)


def trace_images(model: Model, images: ImagesLike) -> tuple[Tensor, Trace]:
    """Check the model and the images of an analysis, and trace the model for their size.

    Args:
        model: the argument that a user gave.
        images: as `Model.to_images` takes them.

    Returns:
        The images `(N, C, H, W)`, and the trace.

    Raises:
        ConvlensError: as `check_model`, `Model.to_images` and `trace`.
    """
    check_model(model)
    images = model.to_images(images)
    return images, _trace_checked_model(model, images, size=None, partly=False)


def _trace_checked_model(
    model: Model, images: Tensor | None, *, size: tuple[int, int] | None, partly: bool | str
) -> Trace:
    """The trace of a model for which `check_model` was called, with its warnings."""
    model_trace = _find_or_make_trace(model, images, size=size, partly=partly)
    _check_labels(model, model_trace)
    for sentence in model_trace.warnings:
        warn(sentence)
    return model_trace


_cache: TraceCache[Trace] = TraceCache()
# A network that reads its data is traced for each image, but runs only once on two images, and is
# checked only once.
_pairs: TraceCache[Recording] = TraceCache()
_checks: TraceCache[tuple[bool, bool]] = TraceCache()


def _find_or_make_trace(
    model: Model, images: Tensor | None, *, size: tuple[int, int] | None, partly: bool | str
) -> Trace:
    if images is not None:
        model.check_shape(images)
    height, width = tuple(images.shape[-2:]) if images is not None else size or model.size
    key = TraceKey(model.channels, (height, width), partly)
    state = network_state(model)
    whole_key = replace(key, partly=False)
    keys = dict.fromkeys((whole_key, key))
    for known_key in keys:
        cached = _cache.find(model, known_key, state)
        if cached is not None:
            return cached
    on_disk = DiskTraces.of(model)
    if on_disk is not None:
        for known_key in keys:
            stored = on_disk.find(known_key)
            if stored is not None:
                _cache.add(model, known_key, state, stored)
                return stored
    with torch.inference_mode(mode=False):
        image = _one_image(model, images, (height, width))
        model_trace, pair = make_trace(
            model,
            image,
            partly=partly,
            known_pair=_pairs.find(model, key, state),
            known_trace=_cache.find(model, replace(whole_key, size=model.size), state),
        )
        model_trace = _check(model, model_trace, image, key, state)
    if model_trace.recording.faked:
        known_key = key if model_trace.recording.stopped else whole_key
        _cache.add(model, known_key, state, model_trace)
        if on_disk is not None:
            on_disk.add(known_key, model_trace)
    elif pair is not None:
        _pairs.add(model, key, state, pair)
    return model_trace


def _check(
    model: Model, model_trace: Trace, image: Tensor, key: TraceKey, state: Hashable
) -> Trace:
    """The trace with what runs on generated images tell about it."""
    recording, structure = model_trace.recording, model_trace.structure
    if recording.stopped or recording.no_scores:
        return model_trace
    checks = _checks.find(model, key, state)
    if checks is None:
        checks = (
            depends_on_batch(
                model, recording, structure.on_image, image,
                may_mix_images=model_trace.batch.may_mix_images,
            ),
            returns_probabilities(model, structure, image),
        )  # fmt: skip
        if not recording.faked:
            _checks.add(model, key, state, checks)
    return replace(model_trace, depends_on_batch=checks[0], returns_probabilities=checks[1])


def _one_image(model: Model, images: Tensor | None, size: tuple[int, int]) -> Tensor:
    """The first image, or a random one, before normalization."""
    if images is None:
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(1, model.channels, *size, generator=generator, dtype=torch.float32)
        images = (images * model.span + model.bounds[0]).to(model.device)
    return images[:1].clone() if images.is_inference() else images[:1]


def _check_labels(model: Model, model_trace: Trace) -> None:
    """Check the number of labels, which can be compared with the outputs only after the trace.

    Raises:
        ConvlensError: the numbers differ.
    """
    recording = model_trace.recording
    if model.labels is None or recording.stopped or recording.no_scores:
        return
    if len(model_trace.shape(model_trace.logits)) == 3:
        return  # a sequence, which holds no vector of class scores
    outputs, labels = model_trace.num_outputs, len(model.labels)
    if outputs == labels:
        return
    if outputs == 1:
        raise ConvlensError(
            f"{model.name} has one output and {labels} labels ({', '.join(model.labels[:3])}); "
            f"give one, the name of what a high output means"
        )
    hint = " (is there a background class?)" if abs(outputs - labels) == 1 else ""
    raise ConvlensError(
        f"{model.name} has {outputs} outputs and {labels} labels; give a label for each "
        f"output{hint}"
    )
