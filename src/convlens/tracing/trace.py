"""The trace of a network: its nodes, their names, shapes and receptive fields."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn

from convlens.errors import ConvlensError, TraceError, suggest
from convlens.models.model import Model, check_model
from convlens.models.output_head import choose_output_head, select_output
from convlens.runtime.clone import silence_fake_tensor_log
from convlens.runtime.guard import untouched, unwrap_network
from convlens.tracing.convolutions import Convolution, find_convolutions
from convlens.tracing.input_size import misfit
from convlens.tracing.multiply_adds import count_multiply_adds
from convlens.tracing.node_names import IMAGE, NodeName
from convlens.tracing.receptive_field.fields import Axes, Field, field_of, pixel_intervals
from convlens.tracing.recorder import FunctionCall, ModuleRun, NodeRef, Operation, Recording, record
from convlens.tracing.registry import registered_layout, registry_version
from convlens.tracing.structure import FinalLayer, Structure

__all__ = [
    "Convolution",
    "Field",
    "FinalLayer",
    "FunctionCall",
    "ModuleRun",
    "NodeName",
    "NodeRef",
    "Operation",
    "Trace",
    "trace",
]


def trace(
    model: Model,
    images: Tensor | None = None,
    *,
    size: tuple[int, int] | None = None,
    partly: bool | str = False,
) -> "Trace":
    """Record every operation that a network runs on an image, in evaluation mode.

    A copy of the network runs once on fake tensors: nothing is computed and nothing of the
    user's is touched. Networks that look at their data (`.item()`, branches, numpy) run once on
    a real image instead, and the trace then says that it holds for that image.

    Args:
        model: the model.
        images: `(N, C, H, W)`; the first gives the size, and the image if one is needed.
        size: height and width in pixels instead; default: the model's own size.
        partly: where the network does not run to its end on images of that size (a fully
            connected stage that takes another), trace it as far as it runs. The name of a node:
            as far as that at least, for which no real image is run if fake tensors get there.

    Raises:
        TraceError: the network does not run on an image of that size.
        ConvlensError: no Model, images that it does not take, or labels of another number than
            the network's outputs.
    """
    check_model(model)
    found = _trace(model, images, size=size, partly=partly)
    _check_labels(model, found)
    return found


def _trace(
    model: Model, images: Tensor | None, *, size: tuple[int, int] | None, partly: bool | str
) -> "Trace":
    if images is not None:
        model.check_shape(images)
    height, width = tuple(images.shape[-2:]) if images is not None else size or model.size
    made = _made.setdefault(unwrap_network(model.network), {})
    modules = [ref(module) for module in unwrap_network(model.network).modules()]
    kept: tuple[str, ...] = ("partly",) if partly else ()
    if isinstance(partly, str):
        kept = ("partly", partly)
    for key in ((), kept):
        known = made.get((model.channels, height, width, *key))
        if known is None or known[:2] != (modules, registry_version()):
            continue
        if known[2].recording.faked and (partly or not known[2].recording.stopped):
            return known[2]
    if images is None:
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(1, model.channels, height, width, generator=generator)
        images = (images * model.span + model.bounds[0]).to(model.device)
    with torch.inference_mode(mode=False):
        if images.is_inference():
            images = images.clone()
        found = Trace(model.name, _recording(model, model.normalize(images[:1]), partly=partly))
    part = kept if found.recording.stopped else ()
    made[(model.channels, height, width, *part)] = (modules, registry_version(), found)
    return found


_Known = tuple[list[ref[nn.Module]], int, "Trace"]
_made: WeakKeyDictionary[nn.Module, dict[tuple[int | str, ...], _Known]] = WeakKeyDictionary()


def _check_labels(model: Model, found: "Trace") -> None:
    """The number of outputs is known here first; names that are off by one would not be seen."""
    if model.labels is None or found.recording.stopped:
        return
    outputs, labels = found.num_outputs, len(model.labels)
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


def _recording(model: Model, images: Tensor, *, partly: bool | str) -> Recording:
    network = unwrap_network(model.network)
    with untouched(network):
        try:
            with silence_fake_tensor_log():
                return record(network, images, select_output, fake=True)
        except ConvlensError:
            raise
        except Exception:  # whatever fake tensors cannot do, real ones may
            part = _as_far_as(partly, network, images) if isinstance(partly, str) else None
            if part is not None:
                return part
            try:
                return record(network, images, select_output, fake=False)
            except ConvlensError:
                raise
            except Exception as error:
                if partly:
                    return _part(network, images)
                raise TraceError(_why(model, images, error)) from error


def _as_far_as(node_name: str, network: nn.Module, images: Tensor) -> Recording | None:
    """What fake tensors ran, if the node is in it."""
    part = _faked_part(network, images)
    try:
        Trace("", part).find_node(node_name)
    except ConvlensError:
        return None
    return part


def _faked_part(network: nn.Module, images: Tensor) -> Recording:
    with silence_fake_tensor_log():
        return record(network, images, select_output, fake=True, partly=_words)


def _words(error: Exception) -> str:
    return misfit(error, lambda side: False)


def _part(network: nn.Module, images: Tensor) -> Recording:
    """What ran until the network raised something; with fake tensors if they get as far."""
    real = record(network, images, select_output, fake=False, partly=_words)
    faked = _faked_part(network, images)
    return faked if len(faked.operations) >= len(real.operations) else real


def _why(model: Model, images: Tensor, error: Exception) -> str:
    """Why the network does not run on images like these, and what would make it run."""
    network = unwrap_network(model.network)
    shape = " x ".join(map(str, images.shape[1:]))
    why = misfit(error, lambda side: _runs(network, _square(images, side)))
    return f"{model.name} does not run on an image of {shape}: {why}"


def _square(images: Tensor, side: int) -> Tensor:
    return images.new_zeros(1, images.shape[1], side, side)


def _runs(network: nn.Module, images: Tensor) -> bool:
    """Whether the network runs on fake images like these."""
    try:
        with silence_fake_tensor_log():
            record(network, images, select_output, fake=True)
    except Exception:  # whatever it is: it does not run
        return False
    return True


@dataclass(frozen=True, eq=False)
class Trace:
    """Nodes, names and receptive fields of one run of a network."""

    model_name: str
    recording: Recording

    @cached_property
    def structure(self) -> Structure:
        """Makers and consumers of nodes."""
        return Structure(self.recording)

    @cached_property
    def _followed(self) -> tuple[dict[int, Axes], dict[int, str]]:
        return pixel_intervals(self.recording)

    @property
    def on_image(self) -> Collection[int]:
        """Indices of the nodes that depend on the image."""
        return self._followed[0].keys()

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        height, width = self.recording.shapes[0][-2:]
        return height, width

    @property
    def unknown(self) -> dict[int, str]:
        """Values whose field was not followed but taken as global, with the operation's name."""
        return self._followed[1]

    @property
    def valid_for(self) -> str:
        """What the trace holds for, in words."""
        return "any input of this size" if self.recording.faked else "this input"

    def shape(self, node: int) -> tuple[int, ...]:
        """Shape of a node for a batch of one."""
        return self.recording.shapes[node]

    def spatial_dims(self, node: int) -> tuple[int, int] | None:
        """Dimensions along which rows and columns lie, or None where the node has no map.

        (2, 3) for `(N, C, h, w)`, (1, 2) for `(N, h, w, C)`.
        """
        intervals = self._followed[0].get(node)
        shape = self.shape(node)
        if intervals is None or len(shape) != 4 or shape[0] != 1:
            return None
        producer = self.structure.producers.get(node)
        layout = registered_layout(producer) if producer is not None else None
        if layout is not None:
            return layout
        if all(one.everywhere for one in intervals):
            return None
        for dims in ((2, 3), (1, 2)):
            if all(
                all(
                    one.low.shape[other] == 1
                    for other in (1, 2, 3)
                    if other not in (dim, 6 - sum(dims))
                )
                for one, dim in zip(intervals, dims, strict=True)
            ):
                return dims if max(shape[dim] for dim in dims) > 1 else None
        return None

    def channels_first(self, node: int, tensor: Tensor) -> Tensor:
        """A tensor of the node's layout, channels last or not, as `(..., C, h, w)`."""
        return tensor.movedim(-1, -3) if self.spatial_dims(node) == (1, 2) else tensor

    def field(self, node: int) -> Field | None:
        """Receptive field of each position of a spatial node, else None."""
        dims = self.spatial_dims(node)
        if dims is None:
            return None
        return field_of(self._followed[0][node], self.shape(node), dims)

    def pixel_range(self, node: int) -> tuple[tuple[int, int], tuple[int, int], bool] | None:
        """First and last row, first and last column that any element sees, and whether more."""
        intervals = self._followed[0].get(node)
        if intervals is None:
            return None
        y, x = ((int(one.low.amin()), int(one.high.amax())) for one in intervals)
        return y, x, any(one.beyond for one in intervals)

    def multiply_adds(self, operation: Operation) -> int:
        """Multiply-adds of one of its operations for one image; 0 for one without a rule."""
        return count_multiply_adds(operation, self.recording.shapes)

    @cached_property
    def logits(self) -> int:
        """The node that holds class scores before any softmax or sigmoid.

        Raises:
            TraceError: the network was traced in part and does not run to its end.
        """
        if self.recording.stopped:
            raise TraceError(
                f"{self.model_name} gives no class scores on {_by(self.image_size)}, where it does "
                f"not run to its end: {self.recording.stopped}"
            )
        return self.structure.logits()

    @property
    def final_activation(self) -> str:
        """What the network ends in: "softmax", "sigmoid", or empty where neither is known."""
        return self.structure.final_activation()

    @property
    def num_outputs(self) -> int:
        """How many classes the logits are of; a number for each image is one."""
        return self.shape(self.logits)[1] if len(self.shape(self.logits)) > 1 else 1

    @property
    def output_head(self) -> str:
        """By what the logits are read: "softmax" or "sigmoid", as `output_head.link_of` says."""
        return choose_output_head(self.final_activation, self.num_outputs)

    @cached_property
    def final_layer(self) -> FinalLayer | None:
        """The final convolutional layer, or None for a network without maps."""
        spatial = [node for node in self._followed[0] if self.spatial_dims(node) is not None]
        return self.structure.final_layer(spatial)

    @cached_property
    def convolutions(self) -> tuple[Convolution, ...]:
        """For each convolution the node that its channels are read from, in order."""
        return find_convolutions(self.recording, self.structure, self.on_image)

    def name(self, node: int) -> str:
        """The name of a node: of the innermost layer that returned it, if there is one."""
        if node == 0:
            return IMAGE
        names = [str(node_name) for node_name in self.node_names(node)]
        # A second output may have the name of a child module, which that name then finds.
        own = (name for name in names if self._index[name] == node)
        return next(own, names[0] if names else f"node {node}")

    def node_names(self, node: int) -> tuple[NodeName, ...]:
        """All names of a node."""
        return self.recording.node_names.get(node, ())

    def names(self) -> Iterator[str]:
        """Every name that `find_node` knows, layers first."""
        events = self.recording.events
        seen = dict.fromkeys(event.call.path for event in events if event.call.path)
        yield from seen
        for node_names in self.recording.node_names.values():
            yield from (name for name in map(str, node_names) if name not in seen)

    def find_node(self, name: str) -> int:
        """The index of the node with a name.

        Raises:
            ConvlensError: no such node (with the nearest names), or one that this input's run
                did not come through.
        """
        if name in self:
            return 0 if name == IMAGE else self._index[name]
        raise ConvlensError(
            f"{self.model_name} has no layer {name!r} in its run on {_by(self.image_size)}"
            + (f", which ends early: {self.recording.stopped}" if self.recording.stopped else "")
            + suggest(name, self.names())
        )

    def __contains__(self, name: str) -> bool:
        """Whether `find_node` knows a name."""
        return name == IMAGE or name in self._index

    @cached_property
    def _index(self) -> dict[str, int]:
        index: dict[str, int] = {}
        # Later runs come last, so that a name without a call number ends at the last run.
        for node, node_names in self.recording.node_names.items():
            for node_name in node_names:
                if node_name.part and str(node_name) in index:
                    continue  # a child module of that name, rather than a second output
                index[str(node_name)] = node
        numbered: dict[str, tuple[int, int]] = {}
        for node, node_names in self.recording.node_names.items():
            for node_name in node_names:
                if node_name.call is None:
                    continue
                plain = str(replace(node_name, call=None))
                numbered[plain] = max(numbered.get(plain, (0, 0)), (node_name.call, node))
        for plain, (_, node) in numbered.items():
            index.setdefault(plain, node)
        return index


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"
