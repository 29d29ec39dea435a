"""The memory that a run of a network takes, estimated from its trace before it begins."""

import logging
import math
import os
from collections.abc import Collection

import torch

from convlens.errors import ConvlensError
from convlens.runtime.allocator import kept_memory, release_freed_memory
from convlens.runtime.memory import free_memory
from convlens.tracing.recording.recording import ModuleRun, Operation
from convlens.tracing.trace import Trace

LIMIT_VARIABLE = "CONVLENS_MEMORY_GB"
# Smaller batches are not examined, so that most calls cost nothing. In pixels.
_LARGE = 2**21
_PIXELS_AT_ONCE = 2**23
_WITHOUT_TILES = 2_000_000_000  # bytes of a run on a whole image
_SAFETY = 2  # a run may take up to 1.6 times the estimate
_MOST_KEPT = 2  # freed memory that is left for a run to use again, times its estimate
_log = logging.getLogger("convlens.memory")
_stated: set[str] = set()


class MemoryLimitError(ConvlensError):
    """A run would take more memory than is free or allowed."""


def images_at_once(pixels: int, most: int) -> int:
    """Number of images of so many pixels that a network is given at a time, 1 to `most`.

    It does not depend on the memory that is free, because the last bits of the results depend on
    it.
    """
    return min(most, max(1, _PIXELS_AT_ONCE // pixels))


def check_run_fits(
    trace: Trace,
    count: int,
    nodes: Collection[int],
    gradient_nodes: Collection[int],
    dtype: torch.dtype,
    device: torch.device,
    *,
    start: int = 0,
    streamed: bool = False,
) -> None:
    """State the memory of a run on large images, and refuse one that would not fit.

    The limit is what is free, or the environment variable `CONVLENS_MEMORY_GB`. The first run of a
    kind logs its memory as information of the logger `convlens.memory`.

    Args:
        trace: of the network, for images of this size.
        count: number of images.
        nodes: the nodes that are captured, after the last of which the run ends.
        gradient_nodes: those among them at which the autograd graph starts.
        dtype: type of the network's tensors.
        device: of the network.
        start: the node at which the run begins, on every path from the image. Default: the image.
        streamed: whether what is captured is read at once and not kept. Default: it is kept.

    Raises:
        MemoryLimitError: the run takes more than the limit.
    """
    height, width = trace.image_size
    if count * height * width < _LARGE:
        return
    limit = _read_limit()
    allowed = free_memory(device) if limit is None else limit
    if allowed is None:
        return
    values = count_values(trace, nodes, gradient_nodes, start=start, streamed=streamed)
    needed = count * dtype.itemsize * values
    is_scarce = limit is None and _SAFETY * needed > allowed
    if device.type == "cpu" and (is_scarce or kept_memory() > _MOST_KEPT * needed):
        release_freed_memory()  # of earlier runs, whose blocks may not fit those of this one
        if limit is None:
            allowed = free_memory(device) or allowed
    images = f"{'an image' if count == 1 else f'{count} images'} of {height} x {width}"
    takes = f"{trace.model_name} takes about {_format(needed)} of memory for {images}"
    if needed <= allowed:
        if takes not in _stated:
            _stated.add(takes)
            _log.info("%s; %s %s", takes, _format(allowed), _kind(limit))
        return
    fewer = "" if count == 1 else ", or fewer images at once"
    raise MemoryLimitError(
        f"{takes}, and {_format(allowed)} {_kind(limit)}; give a smaller size{fewer}, or set "
        f"{LIMIT_VARIABLE} to the gigabytes that may be used"
    )


def largest_tile(
    trace: Trace,
    nodes: Collection[int],
    gradient_nodes: Collection[int],
    dtype: torch.dtype,
    *,
    streamed: bool = False,
) -> int | None:
    """Greatest height and width of tiles, for an image that is too large to run as a whole.

    A run on the whole image may take 2 GB, or what `CONVLENS_MEMORY_GB` allows. The memory that is
    free does not enter, because the last bits of the results depend on the tiles.

    Args:
        trace: of the network, for images of the whole size.
        nodes: the nodes that a run on the whole image captures.
        gradient_nodes: those among them at which the autograd graph starts. The maps of these, or
            else of `nodes`, are held as a whole beside a tile.
        dtype: type of the network's tensors.
        streamed: whether what is captured is read at once and not kept. Default: it is kept.

    Returns:
        Pixels; None where the whole image can run at once, or where the maps alone are too large.
    """
    height, width = trace.image_size
    if height * width < _LARGE:
        return None
    limit = _read_limit() or _WITHOUT_TILES
    maps = () if streamed else gradient_nodes or nodes
    held = dtype.itemsize * sum(_size(trace.batch.shapes[node]) for node in maps)
    needed = dtype.itemsize * count_values(trace, nodes, gradient_nodes, streamed=streamed)
    if needed <= limit or held >= limit:
        return None
    return math.isqrt(int(height * width * (limit - held) / needed))


def state_tiles(trace: Trace, tile_count: int, tile_size: tuple[int, int]) -> None:
    """State once that images run in tiles, as information of the logger `convlens.memory`.

    Args:
        trace: of the network, for images of the whole size.
        tile_count: number of tiles of an image.
        tile_size: their height and width in pixels.
    """
    (height, width), (tile_height, tile_width) = trace.image_size, tile_size
    sentence = (
        f"{trace.model_name} runs on an image of {height} x {width} in {tile_count} tiles of "
        f"{tile_height} x {tile_width}"
    )
    if sentence not in _stated:
        _stated.add(sentence)
        _log.info("%s", sentence)


def count_values(
    trace: Trace,
    nodes: Collection[int],
    gradient_nodes: Collection[int] = (),
    *,
    start: int = 0,
    streamed: bool = False,
) -> int:
    """The largest number of values that a run keeps at the same time, for one image.

    Tensors are counted from the operation that returns them to the last one that reads them, and
    the input of a module until the module returns. What is captured is kept, and so is everything
    that is computed from nodes with gradients. Views share the memory of what they view. Weights
    are not counted.

    Args:
        trace: of the network.
        nodes: the nodes that are captured; the run ends after the last one.
        gradient_nodes: those among them at which the autograd graph starts. Default: none.
        start: the node at which the run begins, on every path from the image. Default: the image.
        streamed: whether what is captured is read at once and not kept. Default: it is kept.

    Returns:
        The number of values, from `start` on.
    """
    operations = _operations_between(trace, start, nodes)
    owner = _memory_owners(trace, operations, start)
    values = {node: _size(trace.batch.shapes[node]) for node in owner if owner[node] == node}
    last_read = _last_reads(trace, operations, owner)
    captured = 0 if streamed else sum(_size(trace.batch.shapes[node]) for node in nodes)
    with_gradient = set(gradient_nodes)
    live = {start}
    largest = values[start]
    for number, operation in enumerate(operations):
        if not with_gradient.isdisjoint(operation.inputs):
            with_gradient.update(operation.outputs)
        live.update(owner[node] for node in operation.outputs if node in owner)
        largest = max(largest, captured + sum(values[node] for node in live))
        saved = {owner[node] for node in with_gradient if node in owner}
        live = {node for node in live if last_read.get(node, -1) > number or node in saved}
    if gradient_nodes:
        # The backward pass holds two gradients at a time beside what the forward pass has saved.
        sizes = [_size(trace.batch.shapes[node]) for node in with_gradient if node in owner]
        largest += 2 * max(sizes, default=0)
    return largest


def _operations_between(trace: Trace, start: int, nodes: Collection[int]) -> list[Operation]:
    """The operations on the image, from a node on every path as far as the last of some nodes."""
    on_image = trace.structure.on_image
    operations = []
    pending = set(nodes) - {0, start}
    is_after_start = start == 0
    for operation in trace.recording.operations:
        if not pending:
            break
        if is_after_start and not on_image.isdisjoint(operation.outputs):
            operations.append(operation)
        is_after_start = is_after_start or start in operation.outputs
        pending -= set(operation.outputs)
    return operations


def _memory_owners(trace: Trace, operations: list[Operation], start: int) -> dict[int, int]:
    """For each node from `start` on the node whose memory it uses: its own, or what it views."""
    owner = {start: start}
    for operation in operations:
        schema = getattr(operation.function, "_schema", None)
        returns = schema.returns if schema is not None else ()
        owned = [node for node in operation.inputs if node in owner]
        for position, node in enumerate(operation.outputs):
            is_view = operation.function is None or (
                position < len(returns) and returns[position].alias_info is not None
            )
            owner[node] = owner[owned[0]] if is_view and owned else node
    return owner


def _last_reads(trace: Trace, operations: list[Operation], owner: dict[int, int]) -> dict[int, int]:
    """The number of the last operation during which each memory is held, by its owner."""
    last_read: dict[int, int] = {}
    returned_by: dict[int, int] = {}
    for number, operation in enumerate(operations):
        for node in operation.inputs:
            if node in owner:
                last_read[owner[node]] = number
        returned_by.update(dict.fromkeys(operation.outputs, number))
    for event in trace.recording.events:
        if isinstance(event, ModuleRun) and event.input_node in owner:
            # The caller still holds what it gave to the module. One that is not left is running
            # when the run ends.
            ends = [returned_by.get(node, len(operations)) for node in event.output_nodes]
            memory = owner[event.input_node]
            last_read[memory] = max(last_read.get(memory, -1), *ends, -1)
    return last_read


def _read_limit() -> int | None:
    text = os.environ.get(LIMIT_VARIABLE)
    if not text:
        return None
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = 0.0
    if not 0 < gigabytes < float("inf"):
        raise ConvlensError(f"{LIMIT_VARIABLE}={text} is no number of gigabytes above 0")
    return int(gigabytes * 1e9)


def _kind(limit: int | None) -> str:
    return "are free" if limit is None else f"are allowed by {LIMIT_VARIABLE}"


def _size(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()


def _format(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
