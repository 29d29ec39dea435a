"""Which of the tensors that a network returns holds the class scores."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from convlens.errors import ConvlensError


class NoClassScoresError(ConvlensError):
    """A network returns nothing that can be read as class scores, such as boxes."""


def select_output(
    output: Any,
    *,
    index: int | None = None,
    num_labels: int | None = None,
    is_computed_from: Callable[[Tensor, Tensor], bool] | None = None,
) -> Tensor:
    """The tensor of class scores in what a network returns.

    A tensor is taken as it is; from an object or a mapping `logits`, then `out`, then the only
    tensor is taken. From a sequence, such as a feature map and logits, the tensor is taken that has
    a number for each label, is one vector for each image, and from which no other such tensor is
    computed.

    Args:
        output: what the network returned.
        index: position of the class scores in a sequence. Default: they are searched for.
        num_labels: number of labels of the model. Default: not known.
        is_computed_from: whether the first tensor was computed from the second. Default: not known.

    Returns:
        The tensor of class scores.

    Raises:
        NoClassScoresError: `output` holds no such tensor.
        ConvlensError: it holds several between which nothing decides.

    Example:
        >>> import torch
        >>> select_output({"logits": torch.zeros(2, 10), "aux": torch.zeros(2, 10)}).shape
        torch.Size([2, 10])
        >>> select_output((torch.zeros(2, 8, 7, 7), torch.zeros(2, 10))).shape
        torch.Size([2, 10])
    """
    if isinstance(output, Tensor):
        return output
    for name in ("logits", "out"):
        value = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(value, Tensor):
            return value
    if isinstance(output, Mapping):
        tensors = [value for value in output.values() if isinstance(value, Tensor)]
        if len(tensors) == 1:
            return _check_nesting(output, tensors[0])
        raise NoClassScoresError(
            f"the network returns a mapping with {', '.join(map(str, output))}; "
            f"one of them has to be a tensor called logits or out"
        )
    if isinstance(output, (tuple, list)):
        if index is not None:
            return _item(output, index)
        tensors = _candidates(output, num_labels, is_computed_from)
        if len(tensors) == 1:
            return _check_nesting(output, tensors[0])
        if tensors:
            shapes = " and ".join(str(tuple(tensor.shape)) for tensor in tensors)
            raise ConvlensError(
                f"the network returns several tensors that may be class scores, {shapes}; give "
                f"labels, or the position of the class scores: wrap(..., output=0)"
            )
    raise NoClassScoresError(
        f"the network returns {_describe(output)}; for class scores, a tensor, a mapping or an "
        f"object with logits is needed"
    )


def output_index(output: Any, selected: Tensor) -> int | None:
    """The position of the selected tensor in a sequence; None for any other output."""
    if not isinstance(output, (tuple, list)):
        return None
    return next((number for number, item in enumerate(output) if item is selected), None)


def _describe(output: Any) -> str:
    """What a network returned, in words."""
    if isinstance(output, (tuple, list)) and output and isinstance(output[0], Mapping):
        keys = ", ".join(map(str, output[0]))
        return f"a {type(output).__name__} of mappings with {keys}, as detection networks do"
    return f"a {type(output).__name__}"


def _item(output: Sequence[Any], index: int) -> Tensor:
    if not 0 <= index < len(output) or not isinstance(output[index], Tensor):
        raise ConvlensError(
            f"output {index} is no tensor among the {len(output)} that the network returns; give "
            f"the position of the class scores, from 0"
        )
    item: Tensor = output[index]
    return item


def _candidates(
    output: Sequence[Any],
    num_labels: int | None,
    is_computed_from: Callable[[Tensor, Tensor], bool] | None,
) -> list[Tensor]:
    """The tensors of a sequence that may be the class scores."""
    tensors = [item for item in output if isinstance(item, Tensor) and item.is_floating_point()]
    tensors = list({id(tensor): tensor for tensor in tensors if tensor.ndim > 0}.values())
    tensors = _those_or_all(
        tensors, lambda tensor: (tensor.shape[1] if tensor.ndim > 1 else 1) == num_labels
    )
    tensors = _those_or_all(tensors, _is_vector)
    # One number for each image and a map: the answer of a binary network and its features, or a
    # map of classes and something about it.
    if any(tensor.ndim == 1 for tensor in tensors):
        return tensors
    return _those_or_all(
        tensors,
        lambda tensor: (
            not any(
                is_computed_from is not None and is_computed_from(other, tensor)
                for other in tensors
                if other is not tensor
            )
        ),
    )


def _check_nesting(output: Any, selected: Tensor) -> Tensor:
    """The tensor that was selected at the first level of an output.

    Raises:
        ConvlensError: it is a map, and a tuple or mapping inside the output holds a vector for each
            image, which may be the class scores.
    """
    if not _is_vector(selected):
        inner = [item for item in tree_leaves(output) if isinstance(item, Tensor)]
        vectors = [item for item in inner if item.is_floating_point() and _is_vector(item)]
        if vectors:
            raise ConvlensError(
                f"the network returns a {type(output).__name__} with maps and, inside another one, "
                f"a vector {tuple(vectors[0].shape)} that may be the class scores; wrap a module "
                f"that returns these alone, or take a map as the output: wrap(..., output=0)"
            )
    return selected


def _is_vector(tensor: Tensor) -> bool:
    """Whether a tensor holds one vector for each image, possibly as a map of one position."""
    return tensor.ndim > 1 and tensor.shape[2:].numel() == 1


def _those_or_all(tensors: list[Tensor], meets: Callable[[Tensor], bool]) -> list[Tensor]:
    """The tensors that meet a criterion, or all if none does."""
    return [tensor for tensor in tensors if meets(tensor)] or tensors
