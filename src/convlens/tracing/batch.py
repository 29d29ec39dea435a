"""The dimension of each node that holds the images of a batch.

A run on one image cannot tell a batch of one from any other dimension of length 1. A second run, on
two images, tells: the dimension of the images has length 2 there, and each of its two positions is
computed from one image. Networks may move that dimension (`(T, N, C)` in recurrent networks), fold
others into it, or squeeze it away when there is one image.
"""

from collections.abc import Container, Hashable
from dataclasses import dataclass

from convlens.tracing.interval import image_dim
from convlens.tracing.receptive_field.fields import image_intervals
from convlens.tracing.recording.ancestors import find_ancestors
from convlens.tracing.recording.recording import Operation, Recording
from convlens.tracing.unknown_operations import chooses_by_values


@dataclass(frozen=True, eq=False)
class BatchDims:
    """Where the images of a batch lie in the nodes of a recording.

    Attributes:
        dims: the dimension of the images by node, for the nodes that have one.
        shapes: shape of every node for one image, in the network's own order of dimensions.
        pair_shapes: its shape for two images where it is known, by node.
        may_mix_images: whether an operation on the way to the output combines all images, as the
            mean over a batch does.
    """

    dims: dict[int, int]
    shapes: tuple[tuple[int, ...], ...]
    pair_shapes: dict[int, tuple[int, ...]]
    may_mix_images: bool = False


def batch_of_single(recording: Recording) -> BatchDims:
    """The batch of a network that does not run on two images: as one image suggests."""
    dims = {node: 0 for node, shape in enumerate(recording.shapes) if shape and shape[0] == 1}
    return BatchDims(dims, recording.shapes, {})


def batch_of_pair(pair: Recording) -> BatchDims:
    """The batch of a recording of two images."""
    dims, shapes = {}, list(pair.shapes)
    intervals = image_intervals(pair)
    for node, interval in intervals.items():
        shape = pair.shapes[node]
        if interval.low.ndim != len(shape):
            continue  # a further output of an operation, such as the mean of a normalization
        dim = image_dim(interval, shape)
        if dim is not None:
            dims[node] = dim
        moving = [dim for dim in range(len(shape)) if interval.low.shape[dim] > 1]
        if len(moving) == 1 and shape[moving[0]] % 2 == 0:
            (dim,) = moving
            shapes[node] = (*shape[:dim], shape[dim] // 2, *shape[dim + 1 :])
    of_output = intervals.get(pair.output)
    may_mix_images = of_output is not None and of_output.sees_whole_image
    return BatchDims(dims, tuple(shapes), dict(enumerate(pair.shapes)), may_mix_images)


def compare_with_pair(single: Recording, pair: Recording) -> BatchDims | None:
    """The batch of a recording of one image, by one of two images.

    Nodes are compared by their names: the operations may differ, because they depend on the memory
    format and on the number of images.

    Returns:
        None if a node has another shape than one of the two images, as after `squeeze`.
    """
    of_pair = batch_of_pair(pair)
    pair_nodes = {name: node for node, names in pair.node_names.items() for name in names}
    dims, pair_shapes = {0: 0}, {0: pair.shapes[0]}
    # The output has no name where the network's own code gets it from a transform (`torch.vmap`).
    counterparts = {single.output: pair.output} if min(single.output, pair.output) >= 0 else {}
    for node, names in single.node_names.items():
        other = next((pair_nodes[name] for name in names if name in pair_nodes), None)
        if other is not None:
            counterparts[node] = other
    for node, other in counterparts.items():
        pair_shapes[node] = pair.shapes[other]
        if other in of_pair.dims:
            if of_pair.shapes[other] != single.shapes[node]:
                return None
            dims[node] = of_pair.dims[other]
    return BatchDims(dims, single.shapes, pair_shapes, of_pair.may_mix_images)


def batch_at_other_size(single: Recording, known: Recording, batch: BatchDims) -> BatchDims | None:
    """The batch of a recording of one image, by that of one image of another size.

    Operations that are wired in the same way keep the images in the same dimension, whatever the
    size of the images.

    Args:
        single: a recording of one image; it may end earlier than the known one.
        known: the recording of one image of another size.
        batch: the batch of the known recording.

    Returns:
        None if the operations differ, a node has another number of dimensions, or the known batch
        lacks the dimension of a node.
    """
    if not (single.faked and known.faked and single.images == known.images == 1):
        return None
    if batch.pair_shapes.keys() - batch.dims.keys():
        return None
    operations = known.operations[: len(single.operations)]
    if [*map(_wiring, single.operations)] != [*map(_wiring, operations)]:
        return None
    pairs = list(zip(single.shapes, known.shapes, strict=False))
    if any(len(shape) != len(known_shape) for shape, known_shape in pairs):
        return None
    dims = {node: dim for node, dim in batch.dims.items() if node < len(pairs)}
    if any(pairs[node][0][dim] != 1 or pairs[node][1][dim] != 1 for node, dim in dims.items()):
        return None
    pair_shapes = {
        node: (*single.shapes[node][:dim], 2, *single.shapes[node][dim + 1 :])
        for node, dim in dims.items()
    }
    return BatchDims(dims, single.shapes, pair_shapes, batch.may_mix_images)


def _wiring(operation: Operation) -> tuple[Hashable, ...]:
    """What an operation is, which nodes it reads and returns, and where it was executed."""
    return (operation.qualified_name, operation.inputs, operation.outputs, operation.call)


def same_names(single: Recording, pair: Recording) -> bool:
    """Whether the nodes of two recordings have the same names."""
    first, second = (
        {name for names in recording.node_names.values() for name in names}
        for recording in (single, pair)
    )
    return first == second


def find_choice_by_values(recording: Recording, node: int, on_image: Container[int]) -> str:
    """The operation that chooses elements by values of the image, before a node.

    A mixture of experts chooses the images for each expert in this way (`x[expert == 1]`). Which
    image a position holds then does not follow from the operations.

    Args:
        recording: of the network.
        node: index of the node.
        on_image: indices of the nodes that depend on the image.

    Returns:
        Name of the operation; empty if there is none.
    """
    for operation in find_ancestors(recording.operations, [node]):
        if chooses_by_values(operation, on_image):
            return operation.name
    return ""
