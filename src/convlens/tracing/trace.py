"""The trace of a network: its nodes, their names, shapes and receptive fields.

`tracer.py` makes it.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor

from convlens.errors import ConvlensError, TraceError, suggest
from convlens.models.output_head import PROBABILITIES, choose_output_head
from convlens.tracing.batch import BatchDims, find_choice_by_values
from convlens.tracing.batch_norm_pairs import BatchNormPair, find_batch_norm_pairs
from convlens.tracing.capture_points import find_capture_point
from convlens.tracing.convolutions import Convolution, find_convolutions
from convlens.tracing.dimensions import Axes, MapDims, channels_first, find_map_dims
from convlens.tracing.element_counts import ElementCounts, count_elements
from convlens.tracing.interval import map_bounds
from convlens.tracing.multiply_adds import count_multiply_adds, find_uncounted
from convlens.tracing.outputs.final_activation import (
    AS_PROBABILITIES,
    FinalActivation,
    without_logits,
)
from convlens.tracing.outputs.structure import FinalLayer, Structure
from convlens.tracing.receptive_field.fields import Field, field_of, pixel_intervals
from convlens.tracing.recording.node_names import IMAGE, NodeName
from convlens.tracing.recording.random_operations import find_random_operations
from convlens.tracing.recording.recording import Operation, Recording
from convlens.tracing.registry import registered_layout


@dataclass(frozen=True, eq=False)
class Trace:
    """The nodes of one run of a network, with their names, shapes and receptive fields.

    A node is a tensor that the network computes. Its index is its number in the recording; node 0
    is the normalized image.

    Attributes:
        model_name: name of the model.
        recording: the operations that the network executed.
        batch: the dimension of each node that holds the images.
        depends_on_batch: whether the outputs for an image depend on the images beside it.
        returns_probabilities: whether the outputs were found to be probabilities by their values,
            as their operations do not show it.
    """

    model_name: str
    recording: Recording
    batch: BatchDims
    depends_on_batch: bool = False
    returns_probabilities: bool = False

    @cached_property
    def structure(self) -> Structure:
        """The producer and the consumers of each node."""
        return Structure(self.recording)

    @cached_property
    def _pixel_intervals(self) -> tuple[dict[int, Axes], dict[int, str]]:
        return pixel_intervals(self.recording)

    @cached_property
    def _nearest_intervals(self) -> dict[int, Axes]:
        """The intervals on the most local path, for nodes whose every element sees all pixels."""
        return pixel_intervals(self.recording, nearest=True)[0]

    @property
    def on_image(self) -> Collection[int]:
        """Indices of the nodes that depend on the image."""
        return self._pixel_intervals[0].keys()

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        height, width = self.recording.shapes[0][-2:]
        return height, width

    @property
    def unknown(self) -> dict[int, str]:
        """Nodes of operations without a rule, with the operation's name; their field is global."""
        return self._pixel_intervals[1]

    @property
    def valid_for(self) -> str:
        """The inputs for which the trace is valid, in words."""
        inputs = "any input of this size" if self.recording.faked else "this input"
        if self.depends_on_batch:
            inputs += "; results for an image depend on the other images of its batch"
        return inputs

    @property
    def takes_batches(self) -> bool:
        """Whether any images can run together without changing one another's results."""
        return self.recording.faked and bool(self.batch.pair_shapes) and not self.depends_on_batch

    def count_elements(self, first: int = 0) -> ElementCounts:
        """How many numbers a run on one image computes and reads from a node on.

        Args:
            first: index of the node; default: the image.
        """
        if first not in self._element_counts:
            shapes = {node: self.shape(node) for node in self.on_image}
            self._element_counts[first] = count_elements(self.recording, shapes, first)
        return self._element_counts[first]

    @cached_property
    def _element_counts(self) -> dict[int, ElementCounts]:
        return {}

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Why results of this network have to be read with care, one sentence each."""
        if self.recording.stopped:
            return ()
        sentences = []
        if reading := self.reading.warning:
            sentences.append(f"{self.model_name}: {reading}")
        if others := self._other_scores:
            sentences.append(
                f"{self.model_name}: of {len(others) + 1} tensors of the same shape that the "
                f"network returns, number {self.recording.output_index}, which is computed from "
                f"another one, is read as the class scores; wrap(..., output=NUMBER) chooses"
            )
        if self.depends_on_batch:
            sentences.append(
                f"{self.model_name}: results for an image depend on the other images of its batch "
                f"(batch normalization without running statistics does this); give photos one by "
                f"one, or compare results of the same batches only"
            )
        if random := find_random_operations(self.recording):
            sentences.append(
                f"{self.model_name}: the network draws random numbers in evaluation mode "
                f"({', '.join(random)}): results differ with the random state and between batches"
            )
        return tuple(sentences)

    @property
    def _other_scores(self) -> list[int]:
        """Other returned tensors that may be the class scores, and not the logits of these."""
        shapes, output = self.recording.shapes, self.recording.output
        return [
            node
            for node in self.recording.other_outputs
            if shapes[node] == shapes[output] and node not in (output, self.reading.node)
        ]

    def shape(self, node: int) -> tuple[int, ...]:
        """Shape of a node for a batch of one, with the dimension of the images first."""
        shape, dim = self.batch.shapes[node], self.batch.dims.get(node, 0)
        return shape[dim : dim + 1] + shape[:dim] + shape[dim + 1 :]

    def image_dim(self, node: int) -> int:
        """The dimension that holds the images in the tensor that the network computes.

        Raises:
            ConvlensError: no dimension of the node holds one image at each position.
        """
        if node in self.batch.dims:
            return self.batch.dims[node]
        if not self.node_names(node):
            raise ConvlensError(
                f"{self.name(node)} of {self.model_name} is inside an operation, or written into a "
                f"part of a tensor, where no run can be stopped; choose a layer before or after it"
            )
        raise ConvlensError(
            f"{self.name(node)} of {self.model_name} {self.describe_mixed_images(node)}; choose a "
            f"layer before the images are mixed or after they are separated"
        )

    def describe_mixed_images(self, node: int) -> str:
        """The end of a sentence: no dimension of a node holds one image at each position."""
        shape, pair_shape = self.batch.shapes[node], self.batch.pair_shapes.get(node)
        comparison = ""
        if pair_shape is not None:
            comparison = f" and {pair_shape} for two"
        elif self.batch.pair_shapes:
            comparison = ", and the network runs other code for two"
        chosen_by = find_choice_by_values(self.recording, node, self.on_image)
        reason = f", as {chosen_by} chooses them by values of the image" if chosen_by else ""
        return (
            f"has shape {shape} for one image{comparison}: no dimension holds one image at each "
            f"position{reason}"
        )

    def in_network_order(self, node: int, tensor: Tensor) -> Tensor:
        """A captured tensor `(N, ...)` with its dimensions in the order of the network."""
        return tensor.movedim(0, self.image_dim(node))

    def spatial_dims(self, node: int) -> MapDims | None:
        """Dimensions along which rows and columns lie, or None for a node without a map.

        A node that cannot be captured counts as one without a map. The dimensions are (2, 3) for
        `(N, C, h, w)`, (1, 2) for `(N, h, w, C)`, (3, 2) for `(N, C, w, h)`.
        """
        if node not in self._map_dims:
            self._map_dims[node] = self._find_spatial_dims(node)
        return self._map_dims[node]

    @cached_property
    def _map_dims(self) -> dict[int, MapDims | None]:
        """What `spatial_dims` has found so far; analyses ask for the same nodes at each call."""
        return {}

    @cached_property
    def _fields(self) -> dict[int, Field | None]:
        """What `field` has found so far."""
        return {}

    def _find_spatial_dims(self, node: int) -> MapDims | None:
        is_known = node in self._pixel_intervals[0] and node in self.batch.dims
        if not is_known or len(self.shape(node)) != 4:
            return None
        if node in self.recording.complex_nodes:
            return None
        if node not in (0, self.recording.output) and self.capture_point(node) is None:
            return None
        producer = self.structure.producers.get(node)
        layout = registered_layout(producer) if producer is not None else None
        if layout is not None:
            return layout
        return find_map_dims(
            self._images_first(node, self._pixel_intervals[0][node]),
            self.shape(node),
            lambda: self._images_first(node, self._nearest_intervals[node]),
        )

    def _images_first(self, node: int, intervals: Axes) -> Axes:
        """The intervals of the first image, with the dimension of the images first."""
        dim = self.batch.dims[node]
        y, x = (
            map_bounds(interval, lambda bound: bound.narrow(dim, 0, 1).movedim(dim, 0))
            for interval in intervals
        )
        return y, x

    def channels_first(self, node: int, tensor: Tensor) -> Tensor:
        """A tensor of the node's layout as `(..., C, h, w)`."""
        return channels_first(tensor, self.spatial_dims(node))

    def field(self, node: int) -> Field | None:
        """Receptive field of each position of a spatial node, else None."""
        if node not in self._fields:
            dims = self.spatial_dims(node)
            self._fields[node] = (
                None
                if dims is None
                else field_of(
                    self._images_first(node, self._pixel_intervals[0][node]), self.shape(node), dims
                )
            )
        return self._fields[node]

    def pixel_range(self, node: int) -> tuple[tuple[int, int], tuple[int, int], bool] | None:
        """The pixels that any element of a node can see; None if it does not depend on the image.

        Returns:
            First and last row, first and last column, and whether the node also depends on the
            pixels outside them through a global operation.
        """
        intervals = self._pixel_intervals[0].get(node)
        if intervals is None:
            return None
        y, x = ((int(interval.low.amin()), int(interval.high.amax())) for interval in intervals)
        return y, x, any(interval.sees_whole_image for interval in intervals)

    def multiply_adds(self, operation: Operation) -> int:
        """Multiply-adds of an operation of the trace for one image; 0 if it has no formula."""
        return count_multiply_adds(operation, self.batch.shapes)

    @cached_property
    def uncounted(self) -> Collection[Operation]:
        """The operations that hold parameters and whose multiply-adds are not known."""
        return find_uncounted(self.recording, self.on_image)

    @cached_property
    def logits(self) -> int:
        """The node that holds class scores before any softmax or sigmoid.

        Raises:
            TraceError: the network was traced in part and does not run to its end, or it returns
                no class scores.
        """
        if self.recording.no_scores:
            raise TraceError(f"{self.model_name} gives no class scores: {self.recording.no_scores}")
        if self.recording.stopped:
            raise TraceError(
                f"{self.model_name} gives no class scores on {_format_size(self.image_size)}, "
                f"where it does not run to its end: {self.recording.stopped}"
            )
        return self.structure.before_squeeze(self.reading.node)

    @cached_property
    def reading(self) -> FinalActivation:
        """How the outputs are to be read, by the last operations and by the values."""
        if self.returns_probabilities:
            return FinalActivation(
                self.recording.output,
                PROBABILITIES,
                f"the outputs are at least 0 and add up to 1 over the classes: {AS_PROBABILITIES}",
            )
        reading = self.structure.final_activation
        output = self.recording.output
        if reading.node == output or not reading.name or self.capture_point(reading.node):
            return reading
        return without_logits(reading, output)

    @property
    def final_activation(self) -> str:
        """The network's final activation: "softmax", "sigmoid", or empty for neither.

        It is "probabilities" if the outputs are computed from the results of these, such as the
        mean of several softmaxes.
        """
        return self.reading.name

    @property
    def num_outputs(self) -> int:
        """Number of classes of the logits; 1 if the network returns one number for each image."""
        return self.shape(self.logits)[1] if len(self.shape(self.logits)) > 1 else 1

    @property
    def output_head(self) -> str:
        """How outputs are read: "softmax", "sigmoid" or "probabilities" (`choose_output_head`)."""
        return choose_output_head(self.final_activation, self.num_outputs)

    @cached_property
    def final_layer(self) -> FinalLayer | None:
        """The final convolutional layer; None for a network without maps or class scores."""
        if self.recording.no_scores:
            return None
        spatial = [node for node in self._pixel_intervals[0] if self.spatial_dims(node) is not None]
        return self.structure.final_layer(spatial)

    @cached_property
    def convolutions(self) -> tuple[Convolution, ...]:
        """The convolutions in the order of execution, each with the node of its channels."""
        return find_convolutions(self.recording, self.structure, self.on_image)

    @cached_property
    def batch_norm_pairs(self) -> tuple[BatchNormPair, ...]:
        """The convolutions whose outputs only a batch normalization reads, in order."""
        return find_batch_norm_pairs(self.recording, self.structure)

    def capture_point(self, node: int) -> NodeName | None:
        """The name under which a node is captured in a run; None if it cannot be captured."""
        structure = self.structure
        return find_capture_point(
            self.node_names(node), structure.producers.get(node), structure.consumers.get(node, [])
        )

    def name(self, node: int) -> str:
        """The name of a node: that of the innermost layer that returned it, if there is one."""
        if node == 0:
            return IMAGE
        names = [str(node_name) for node_name in self.node_names(node)]
        # `block.1` may be the second output of `block` and a child module; the module has priority.
        indexed_names = (name for name in names if self._index[name] == node)
        return next(indexed_names, names[0] if names else f"node {node}")

    def node_names(self, node: int) -> tuple[NodeName, ...]:
        """All names of a node."""
        return self.recording.node_names.get(node, ())

    def names(self) -> Iterator[str]:
        """Every name that `find_node` finds, layers first."""
        events = self.recording.events
        layers = dict.fromkeys(event.call.path for event in events if event.call.path)
        yield from layers
        for node_names in self.recording.node_names.values():
            yield from (name for name in map(str, node_names) if name not in layers)

    def find_node(self, name: str) -> int:
        """The index of the node with a name.

        Raises:
            ConvlensError: the network did not compute a node of that name on this input; the
                message lists the nearest names.
        """
        if name in self:
            return 0 if name == IMAGE else self._index[name]
        if self.recording.ran_without_tensors(name):
            raise ConvlensError(
                f"{name} of {self.model_name} runs inside torch.vmap or another transform of "
                f"torch.func, where no run can be stopped; choose a layer outside of it"
            )
        raise ConvlensError(
            f"{self.model_name} has no layer {name!r} in its run on {_format_size(self.image_size)}"
            + (f", which ends early: {self.recording.stopped}" if self.recording.stopped else "")
            + suggest(name, self.names())
        )

    def __contains__(self, name: str) -> bool:
        """Whether `find_node` finds a name."""
        return name == IMAGE or name in self._index

    @cached_property
    def _index(self) -> dict[str, int]:
        index: dict[str, int] = {}
        # Later runs come last, so that a name without a call number ends at the last run.
        for node, node_names in self.recording.node_names.items():
            for node_name in node_names:
                if node_name.part and str(node_name) in index:
                    continue  # a child module has priority over a second output of the same name
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


def _format_size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"
