"""Rules that users register for operations: receptive field, multiply-adds, layout of maps.

The rules of PyTorch's own operations are defined in `receptive_field/rules.py` and
`multiply_adds.py`. A registered rule has priority over them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from convlens.errors import ConvlensError
from convlens.tracing.interval import FieldRule
from convlens.tracing.operation_view import OperationView
from convlens.tracing.recording.recording import Operation

CostRule = Callable[[OperationView], int]
Layout = tuple[int, int]

_NAME = re.compile(r"\w+::\w+")


@dataclass(frozen=True, eq=False)
class RegisteredOperation:
    """The rules that one call of `register_operation` added.

    `remove()`, or the end of a `with` block, removes them. The rules that were registered before
    for the same operation, or PyTorch's own, then apply again.

    Attributes:
        name: `NAMESPACE::NAME` of the operation.
        receptive_field: the rule for the receptive field, or None.
        multiply_adds: the rule for the multiply-adds, or None.
        layout: dimensions of rows and columns, or None.
    """

    name: str
    receptive_field: FieldRule | None
    multiply_adds: CostRule | None
    layout: Layout | None

    def remove(self) -> None:
        """Remove the rules; a second call does nothing."""
        if self in _registered:
            _registered.remove(self)
            _count_change()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()


_registered: list[RegisteredOperation] = []
_changes = [0]


def register_operation(
    name: str,
    *,
    receptive_field: FieldRule | None = None,
    multiply_adds: CostRule | None = None,
    layout: Layout | None = None,
) -> RegisteredOperation:
    """Add rules for one operation, for example a custom operator of your own library.

    An operation without a rule counts as one that mixes all positions: the layers after it have no
    receptive field, and `anatomy` marks them. Rules apply to all traces that are made after the
    registration, also of networks that were traced before.

    Args:
        name: of the operation, `NAMESPACE::NAME`, as `torch.library.custom_op` takes it; all of
            its overloads, with or without a trailing underscore (in place).
        receptive_field: maps a `FieldView` to one `PixelInterval` for each output (or a single one
            for all outputs), None for an output that does not depend on the image. It is called
            once for rows and once for columns. Rules to reuse are in
            `convlens.tracing.receptive_field.rules`: `pointwise` for an operation that works on
            each element alone, `sliding_window(kernel_size, stride, padding, dilation)` for
            windows, `combine_everything` for one that mixes all positions. Default:
            the built-in rule, if there is one.
        multiply_adds: maps an `OperationView` to the number of multiply-adds for one image.
            Default: PyTorch's own rule, or 0.
        layout: dimensions of the rows and the columns of its outputs, `(2, 3)` for `(N, C, h, w)`
            or `(1, 2)` for `(N, h, w, C)`. Default: they are derived from the receptive fields,
            which is not possible after an operation that mixes all positions.

    Returns:
        A handle; its `remove()` removes the rules. The latest registration has priority.

    Raises:
        ConvlensError: the name has another form, no rule is given, or a rule is not a function.

    Example:
        >>> import torch, convlens
        >>> from convlens.tracing.receptive_field.rules import sliding_window
        >>> @torch.library.custom_op("convlens_example::blur", mutates_args=())
        ... def blur(x: torch.Tensor) -> torch.Tensor:
        ...     return torch.nn.functional.avg_pool2d(x, 3, 2, 1)
        >>> @blur.register_fake
        ... def _(x):
        ...     return x.new_empty(*x.shape[:2], (x.shape[2] + 1) // 2, (x.shape[3] + 1) // 2)
        >>> class Blur(torch.nn.Module):
        ...     def forward(self, x):
        ...         return blur(x)
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), Blur())
        >>> model = convlens.wrap(network, size=16)
        >>> convlens.anatomy(model).layers[1].field_size is None
        True
        >>> handle = convlens.register_operation(
        ...     "convlens_example::blur",
        ...     receptive_field=sliding_window(3, stride=2, padding=1),
        ...     multiply_adds=lambda view: 9 * torch.Size(view.output_shape).numel(),
        ... )
        >>> layer = convlens.anatomy(model).layers[1]
        >>> layer.field_size, layer.field_stride, layer.multiply_adds
        ((5, 5), (2, 2), 2304)
        >>> handle.remove()
    """
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise ConvlensError(f"operation {name!r} is not NAMESPACE::NAME, for example mylib::blur")
    if receptive_field is None and multiply_adds is None and layout is None:
        raise ConvlensError(
            f"no rule for {name}; give at least one of receptive_field, multiply_adds and layout"
        )
    for rule, argument in ((receptive_field, "receptive_field"), (multiply_adds, "multiply_adds")):
        if rule is not None and not callable(rule):
            raise ConvlensError(f"{argument} of {name} is {rule!r}; give a function")
    if layout not in (None, (2, 3), (1, 2)):
        raise ConvlensError(f"layout of {name} is {layout!r}; give (2, 3) or (1, 2)")
    plain = name.rstrip("_") if not name.endswith("::_") else name
    operation = RegisteredOperation(plain, receptive_field, multiply_adds, layout)
    _registered.append(operation)
    _count_change()
    return operation


def registered_field_rule(operation: Operation) -> FieldRule | None:
    """The rule for an operation's receptive field that was registered last, if there is one."""
    rules = (registration.receptive_field for registration in _registrations_for(operation))
    return next((rule for rule in rules if rule is not None), None)


def registered_cost_rule(operation: Operation) -> CostRule | None:
    """The rule for an operation's multiply-adds that was registered last, if there is one."""
    rules = (registration.multiply_adds for registration in _registrations_for(operation))
    return next((rule for rule in rules if rule is not None), None)


def registered_layout(operation: Operation) -> Layout | None:
    """The layout of an operation's outputs that was registered last, if there is one."""
    layouts = (registration.layout for registration in _registrations_for(operation))
    return next((layout for layout in layouts if layout is not None), None)


def registry_version() -> int:
    """A number that changes with each registration and each removal."""
    return _changes[0]


def has_registrations() -> bool:
    """Whether any rule is registered now."""
    return bool(_registered)


def _registrations_for(operation: Operation) -> list[RegisteredOperation]:
    """The registrations for an operation, the latest first."""
    return [
        registration
        for registration in reversed(_registered)
        if registration.name == operation.qualified_name
    ]


def _count_change() -> None:
    _changes[0] += 1
