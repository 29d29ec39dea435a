"""The recorded runs of a network from which its trace is made.

A copy of the network runs on one image, on fake tensors where it can, else on a real one; a network
that raises an error on images of some size can be recorded in part. A second run on two images
tells the dimension of the images in each node, and whether the network runs in channels-last. For
images of another size it is left out where the network executes the same operations.

The operations that a trace keeps are those on images in the contiguous memory format, whatever the
format of the caller's images: `reshape` copies in one format and not in the other, and a trace must
not depend on that.
"""

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from convlens.errors import ConvlensError, TraceError
from convlens.models.model import Model
from convlens.models.outputs import select_output
from convlens.runtime.clone import silence_fake_tensor_log
from convlens.runtime.guard import preserve_network, unwrap_network
from convlens.runtime.memory_format import remember_memory_format, to_memory_format
from convlens.tracing.batch import (
    batch_at_other_size,
    batch_of_pair,
    batch_of_single,
    compare_with_pair,
    same_names,
)
from convlens.tracing.recording.input_size import explain_failure
from convlens.tracing.recording.recorder import SelectOutput, record
from convlens.tracing.recording.recording import Recording
from convlens.tracing.trace import Trace

_CONTIGUOUS, _CHANNELS_LAST = torch.contiguous_format, torch.channels_last


def make_trace(
    model: Model,
    image: Tensor,
    *,
    partly: bool | str,
    known_pair: Recording | None,
    known_trace: Trace | None,
) -> tuple[Trace, Recording | None]:
    """Record a network and find the dimension of the images in its nodes.

    Args:
        model: its network is left untouched.
        image: `(1, C, H, W)` before normalization.
        partly: as for `trace`.
        known_pair: an earlier recording of two images of this size.
        known_trace: an earlier trace of the network, for images of another size. Where the network
            executes the same operations, no second run is needed.

    Returns:
        The trace, and the recording of two images, which is None if the network does not run on
        them.

    Raises:
        TraceError: the network runs neither on one image of that size nor on two.
        ConvlensError: it returns nothing that can be read as class scores.
    """
    runs = _Runs(model, unwrap_network(model.network), image)
    with preserve_network(runs.network):
        try:
            single = runs.record_single(partly=partly)
        except TraceError:
            try:
                pair = runs.record_whole_pair()
            except Exception:  # the first error says more
                pair = None
            if pair is None:
                raise
            return Trace(model.name, pair, batch_of_pair(pair)), pair
        pair = known_pair
        if pair is None and known_trace is not None:
            batch = batch_at_other_size(single, known_trace.recording, known_trace.batch)
            if batch is not None:
                return Trace(model.name, single, batch), None
        # A network that reads its data may have taken another branch.
        if pair is None or not same_names(single, pair):
            try:
                pair = runs.record_pair(single)
            except Exception:  # a network that takes one image at a time
                return Trace(model.name, single, batch_of_single(single)), None
        batch = compare_with_pair(single, pair)
        if batch is not None:
            return Trace(model.name, single, batch), pair
        # The network drops the dimension of the images when there is one.
        if not single.ends_early:
            pair = runs.record_whole_pair()
        return Trace(model.name, pair, batch_of_pair(pair)), pair


class _Runs:
    """The runs of one network on images of one size."""

    def __init__(self, model: Model, network: nn.Module, image: Tensor) -> None:
        self._model = model
        self.network = network
        self._image = image
        # Of a fake image, only shape, type and device matter.
        self._blank = image.new_empty(image.shape, dtype=model.dtype)

    def record_single(self, *, partly: bool | str) -> Recording:
        """Record a run on one image.

        Raises:
            TraceError: the network does not run on it.
        """
        try:
            return self._record(1, fake=True)
        except ConvlensError:
            raise
        except Exception:  # the network may still run on real tensors
            if isinstance(partly, str):
                recording = self._record(1, fake=True, until_error=True)
                if partly in Trace(self._model.name, recording, batch_of_single(recording)):
                    return recording
            try:
                recording = self._record(1, fake=False)
                return self._without_last_part(recording) if recording.no_scores else recording
            except ConvlensError:
                raise
            except Exception as error:
                if partly:
                    return self._record_longest_part()
                message = _failure_message(self._model, self._blank, error)
                raise TraceError(message) from error

    def record_pair(self, single: Recording) -> Recording:
        """Record a run on two images, in the same way as that on one.

        Raises:
            Exception: whatever the network raises.
        """
        until_error = single.ends_early
        in_channels_last = single.faked and not until_error and self._model.channels > 1
        if in_channels_last:
            try:
                pair = self._record(2, fake=True, memory_format=_CHANNELS_LAST)
            except Exception:  # such as `view` on a map
                pass
            else:
                self._remember(_CHANNELS_LAST)
                return pair
        pair = self._record(2, fake=single.faked, until_error=until_error)
        if in_channels_last:
            self._remember(_CONTIGUOUS)
        return pair

    def record_whole_pair(self) -> Recording:
        """Record a run on two contiguous images, on fake tensors if possible.

        Raises:
            Exception: whatever the network raises.
        """
        try:
            return self._record(2, fake=True)
        except Exception:  # the network may still run on real tensors
            return self._record(2, fake=False)

    def _without_last_part(self, real: Recording) -> Recording:
        """A recording on fake tensors that holds all module runs of one on a real image.

        A detection network chooses boxes by their values at the end, which fake tensors do not
        have. What is before that does not depend on the values. If the choice comes earlier, the
        result is the recording on the real image.
        """
        faked = self._record(1, fake=True, until_error=True)
        if faked.runs != real.runs:
            return real
        return replace(faked, stopped="", no_scores=real.no_scores)

    def _record_longest_part(self) -> Recording:
        """Record until the network raises an error; on fake tensors if they get as far."""
        real = self._record(1, fake=False, until_error=True)
        faked = self._record(1, fake=True, until_error=True)
        return faked if len(faked.operations) >= len(real.operations) else real

    def _record(
        self,
        count: int,
        *,
        fake: bool,
        until_error: bool = False,
        memory_format: torch.memory_format = _CONTIGUOUS,
    ) -> Recording:
        image = self._blank if fake else self._model.normalize(self._image)
        images = to_memory_format(image.expand(count, -1, -1, -1), memory_format)
        with silence_fake_tensor_log():
            recording = record(
                self.network, images, _selector(self._model), fake=fake,
                describe_error=_describe_error if until_error else None,
            )  # fmt: skip
        # With a given position of the class scores, nothing was chosen.
        return recording if self._model.output is None else replace(recording, other_outputs=())

    def _remember(self, memory_format: torch.memory_format) -> None:
        height, width = self._image.shape[-2:]
        remember_memory_format(self.network, self._model.channels, (height, width), memory_format)


def _selector(model: Model) -> SelectOutput:
    """The choice of the class scores among the tensors that the network returns."""

    def select(output: Any, is_computed_from: Callable[[Tensor, Tensor], bool]) -> Tensor:
        return select_output(
            output, index=model.output,
            num_labels=len(model.labels) if model.labels is not None else None,
            is_computed_from=is_computed_from,
        )  # fmt: skip

    return select


def _describe_error(error: Exception) -> str:
    return explain_failure(error, lambda side: False)


def _failure_message(model: Model, images: Tensor, error: Exception) -> str:
    """Why the network does not run on images of this size, and what would help."""
    network = unwrap_network(model.network)
    inputs = _required_inputs(network)
    if len(inputs) > 1:
        return (
            f"{model.name} takes {len(inputs)} inputs ({', '.join(inputs)}), and an analysis gives "
            f"it one image; wrap a module that takes one image and makes the other inputs from it"
        )

    def runs_on_square(side: int) -> bool:
        return _runs(model, images.new_zeros(1, images.shape[1], side, side))

    shape = " x ".join(map(str, images.shape[1:]))
    reason = explain_failure(error, runs_on_square)
    return f"{model.name} does not run on an image of {shape}: {reason}"


def _required_inputs(network: nn.Module) -> list[str]:
    """The names of the arguments without which the network cannot be called."""
    return [
        name for name, parameter in inspect.signature(network.forward).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]  # fmt: skip


def _runs(model: Model, images: Tensor) -> bool:
    """Whether the network runs on fake images of this shape."""
    try:
        with silence_fake_tensor_log():
            record(unwrap_network(model.network), images, _selector(model), fake=True)
    except Exception:  # any error means that it does not run
        return False
    return True
