"""Parts of a batch of images that run faster one after the other than all at once.

glibc returns the memory of tensors to the system when more than 64 MB of it are free at once
(`convlens.runtime.allocator`), and the kernel clears it again for the next tensor. About two and a
half tensors of the size of the largest activation exist at the same time. With MobileNetV2 at 224
pixels, 32 images take 312 ms at once and 153 ms in parts of 5. Memory is bounded by the way,
whatever the number of images. The gradients of several classes are as many tensors of that kind.
"""

import math
from itertools import pairwise

from torch import Tensor

from convlens.tracing.memory import images_at_once
from convlens.tracing.trace import Trace

# Size of the largest activation of a part: 5 images of 224 pixels in MobileNetV2. In smaller parts
# more time goes into starting operations than is saved.
_PART_BYTES = 26e6
# Each part reads all weights again. VGG-16 takes a tenth longer in parts of 4 than in parts of 8,
# where they are 1.1 and 0.6 of the size of the part's activations.
_MAX_WEIGHTS = 0.5
_ELEMENT_BYTES = 4


def image_parts(trace: Trace, images: Tensor) -> list[slice]:
    """Split a batch into parts that can run one after the other, of nearly equal size.

    The last bits of a result may depend on the parts, which depend on the network, on the size and
    the number of the images, and on nothing else.

    Args:
        trace: of the network that will run, for images of this size.
        images: `(N, C, H, W)`.

    Returns:
        The numbers of the images of each part. One part where splitting would change results,
        because images of a batch affect one another; few large parts where it saves no time: on a
        GPU, and for a network whose weights take long to read.
    """
    count = len(images)
    if count == 1 or not trace.takes_batches:
        return [slice(0, count)]
    at_once = images_at_once(images[0, 0].numel(), count)
    if images.device.type == "cpu":
        at_once = min(at_once, _fitting(trace))
    return even_parts(count, at_once)


def gradient_parts(trace: Trace, activations: Tensor, node: int, count: int) -> list[slice]:
    """Split the gradients that are computed for each image into parts that run one by one.

    Args:
        trace: of the network that has run.
        activations: those at the node `(N, ...)`.
        node: index of the node to which the gradients are computed.
        count: number of gradients of each image.

    Returns:
        The numbers of the gradients of each part. Few large parts where splitting saves no time, as
        for `image_parts`.
    """
    if count == 1 or activations.device.type != "cpu":
        return [slice(0, count)]
    return even_parts(count, max(1, _fitting(trace, node) // len(activations)))


def _fitting(trace: Trace, first: int = 0) -> int:
    """The number of images, or of gradients of an image, of a part that runs from a node on."""
    counts = trace.count_elements(first)
    fitting = max(int(_PART_BYTES / (_ELEMENT_BYTES * counts.largest)), 1)
    return max(fitting, math.ceil(counts.parameters / (_MAX_WEIGHTS * counts.total)))


def even_parts(count: int, most: int) -> list[slice]:
    """Split a number of images into parts of nearly equal size, as few as possible.

    A small part at the end, as `Tensor.split` leaves it, would take longer for each image.

    Args:
        count: number of images.
        most: images of a part, at most.

    Example:
        >>> [(part.start, part.stop) for part in even_parts(17, 16)]
        [(0, 8), (8, 17)]
    """
    parts = math.ceil(count / most)
    bounds = [number * count // parts for number in range(parts + 1)]
    return [slice(start, stop) for start, stop in pairwise(bounds)]
