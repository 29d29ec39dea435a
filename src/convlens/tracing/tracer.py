"""The function `trace`: runs a copy of a network once, and keeps the traces of each network.

The copy runs on fake tensors where it can, else on a real image; a network that raises an error on
images of some size can be traced in part.
"""

from dataclasses import dataclass
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn

from convlens.errors import ConvlensError, TraceError
from convlens.models.model import Model, check_model
from convlens.models.output_head import select_output
from convlens.runtime.clone import silence_fake_tensor_log
from convlens.runtime.guard import preserve_network, unwrap_network
from convlens.tracing.input_size import explain_failure
from convlens.tracing.recorder import record
from convlens.tracing.recording import Recording
from convlens.tracing.registry import registry_version
from convlens.tracing.trace import Trace


def trace(
    model: Model,
    images: Tensor | None = None,
    *,
    size: tuple[int, int] | None = None,
    partly: bool | str = False,
) -> Trace:
    """Record every operation that a network runs on an image, in evaluation mode.

    A copy of the network runs once on fake tensors: nothing is computed, and the network is left
    untouched. A network whose code depends on its data (`.item()`, branches, numpy) runs once on a
    real image instead, and the trace is then valid for that image only.

    Args:
        model: the model.
        images: `(N, C, H, W)`. Their size is used, and the first image where a real one is needed.
            Default: a random image.
        size: height and width in pixels instead of images. Default: the model's own size.
        partly: where the network raises an error on images of that size (a fully connected stage
            that takes another size), trace it as far as it runs. The name of a node: trace it at
            least as far as that node, without a real image if fake tensors get there.

    Returns:
        The trace, the same one for the same model and size.

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
    model_trace = _find_or_make_trace(model, images, size=size, partly=partly)
    _check_labels(model, model_trace)
    return model_trace


@dataclass(frozen=True)
class _CachedTrace:
    """A trace, with what must not have changed since for it to be valid."""

    modules: list[ref[nn.Module]]
    registry_version: int
    trace: Trace


_cache: WeakKeyDictionary[nn.Module, dict[tuple[int | str, ...], _CachedTrace]] = (
    WeakKeyDictionary()
)


def _find_or_make_trace(
    model: Model, images: Tensor | None, *, size: tuple[int, int] | None, partly: bool | str
) -> Trace:
    if images is not None:
        model.check_shape(images)
    height, width = tuple(images.shape[-2:]) if images is not None else size or model.size
    network = unwrap_network(model.network)
    cached_traces = _cache.setdefault(network, {})
    modules = [ref(module) for module in network.modules()]
    partly_key: tuple[str, ...] = ("partly",) if partly else ()
    if isinstance(partly, str):
        partly_key = ("partly", partly)
    for key in ((), partly_key):
        cached = cached_traces.get((model.channels, height, width, *key))
        if cached is None or cached.modules != modules:
            continue
        if cached.registry_version != registry_version():
            continue
        recording = cached.trace.recording
        if recording.faked and (partly or not recording.stopped):
            return cached.trace
    if images is None:
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(
            1, model.channels, height, width, generator=generator, dtype=torch.float32
        )
        images = (images * model.span + model.bounds[0]).to(model.device)
    with torch.inference_mode(mode=False):
        if images.is_inference():
            images = images.clone()
        recording = _record_model(model, model.normalize(images[:1]), partly=partly)
    model_trace = Trace(model.name, recording)
    key = partly_key if recording.stopped else ()
    cached_traces[(model.channels, height, width, *key)] = _CachedTrace(
        modules, registry_version(), model_trace
    )
    return model_trace


def _check_labels(model: Model, model_trace: Trace) -> None:
    """Check the number of labels, which can be compared with the outputs only after the trace.

    Raises:
        ConvlensError: the numbers differ.
    """
    if model.labels is None or model_trace.recording.stopped:
        return
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


def _record_model(model: Model, images: Tensor, *, partly: bool | str) -> Recording:
    network = unwrap_network(model.network)
    with preserve_network(network):
        try:
            with silence_fake_tensor_log():
                return record(network, images, select_output, fake=True)
        except ConvlensError:
            raise
        except Exception:  # the network may still run on real tensors
            if isinstance(partly, str):
                recording = _record_until_error(network, images, fake=True)
                if partly in Trace(model.name, recording):
                    return recording
            try:
                return record(network, images, select_output, fake=False)
            except ConvlensError:
                raise
            except Exception as error:
                if partly:
                    return _record_longest_part(network, images)
                raise TraceError(_failure_message(model, images, error)) from error


def _record_longest_part(network: nn.Module, images: Tensor) -> Recording:
    """Record until the network raises an error; on fake tensors if they get as far."""
    real = _record_until_error(network, images, fake=False)
    faked = _record_until_error(network, images, fake=True)
    return faked if len(faked.operations) >= len(real.operations) else real


def _record_until_error(network: nn.Module, images: Tensor, *, fake: bool) -> Recording:
    with silence_fake_tensor_log():
        return record(network, images, select_output, fake=fake, describe_error=_describe_error)


def _describe_error(error: Exception) -> str:
    return explain_failure(error, lambda side: False)


def _failure_message(model: Model, images: Tensor, error: Exception) -> str:
    """Why the network does not run on images of this size, and which size would do."""
    network = unwrap_network(model.network)

    def runs_on_square(side: int) -> bool:
        return _runs(network, images.new_zeros(1, images.shape[1], side, side))

    shape = " x ".join(map(str, images.shape[1:]))
    reason = explain_failure(error, runs_on_square)
    return f"{model.name} does not run on an image of {shape}: {reason}"


def _runs(network: nn.Module, images: Tensor) -> bool:
    """Whether the network runs on fake images of this shape."""
    try:
        with silence_fake_tensor_log():
            record(network, images, select_output, fake=True)
    except Exception:  # any error means that it does not run
        return False
    return True
