"""The options that all Grad-CAM functions share, documented once in `GradCamOptions`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from inspect import Parameter, signature
from typing import Any, TypedDict, TypeVar, cast

from torch import Tensor

from convlens.errors import ConvlensError
from convlens.tracing.selection import Side, check_side

ClassSelection = str | int | Sequence[str | int] | Tensor
TargetFunction = Callable[[Tensor], Tensor]

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class GradCamOptions:
    """What Grad-CAM explains, and at which layer.

    These are the keywords that `gradcam`, `gradcam_layers`, `gradcams` and `randomization` share.

    Attributes:
        classes: the classes to explain: names or indices for all images, where `A - B` stands for
            the logit of A minus that of B; or an int64 tensor `(N, K)` with the classes of each
            image, or `(N, K, 2)` with each class and the one that is subtracted (-1 for none).
            Default: the `top` highest-scoring classes of each image; for a network that answers
            for each pixel (segmentation), those of the largest area.
        top: number of highest-scoring classes to explain when no classes are given; default 1.
        pixel: row and column of an output that is a map; the class scores at this pixel are
            explained. Default: the mean logit of a class over the pixels that are predicted as it.
        target: any function of the network's output before its softmax or sigmoid, computed by
            torch, instead of classes: from `(N, ...)` to `(N,)`, or to `(N, K)` for K maps per
            image. Default: none.
        layer: name of the layer or node whose maps are weighted, as
            `convlens.tracing.selection` describes it. Default: the final convolutional layer.
        side: side of the layer: what its non-linearity consumes ("pre", the chapter's definition,
            default) or returns ("post", Selvaraju et al. 2017), or what the layer itself returns
            ("output", for a named layer).

    Raises:
        ConvlensError: a target together with classes or a pixel, or an unknown side.

    Example:
        >>> import convlens
        >>> options = convlens.GradCamOptions(classes=["tabby - tiger cat"], side="post")
        >>> options.classes, options.top, options.layer
        (['tabby - tiger cat'], 1, None)
    """

    classes: ClassSelection | None = None
    top: int = 1
    pixel: tuple[int, int] | None = None
    target: TargetFunction | None = None
    layer: str | None = None
    side: Side = "pre"

    def __post_init__(self) -> None:
        check_side(self.side)
        if self.target is not None and (self.classes is not None or self.pixel is not None):
            raise ConvlensError(
                "a target is given together with classes or a pixel; give one of them"
            )

    def keywords(self) -> "GradCamKeywords":
        """The options as keywords of `gradcam` and the other functions."""
        return cast(GradCamKeywords, dict(vars(self)))


class GradCamKeywords(TypedDict, total=False):
    """The fields of `GradCamOptions` as keywords, for type checkers and editors."""

    classes: ClassSelection | None
    top: int
    pixel: tuple[int, int] | None
    target: TargetFunction | None
    layer: str | None
    side: Side


def spell_out_options(function: Function) -> Function:
    """Show the fields of `GradCamOptions` in a function's signature instead of `**options`.

    `help` and notebooks then list each keyword with its default.
    """
    documented = signature(function)
    parameters = [
        parameter
        for parameter in documented.parameters.values()
        if parameter.kind != Parameter.VAR_KEYWORD
    ]
    parameters += [
        Parameter(
            option.name, Parameter.KEYWORD_ONLY, default=option.default, annotation=option.type
        )
        for option in fields(GradCamOptions)
        if option.name not in documented.parameters
    ]
    function.__signature__ = documented.replace(parameters=parameters)  # type: ignore[attr-defined]
    return function
