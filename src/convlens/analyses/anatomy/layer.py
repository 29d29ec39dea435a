"""One row of the anatomy of a network."""

from dataclasses import dataclass

from convlens.results import Result

Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Layer(Result):
    """One run of a layer, or one operation in the code of a module that has submodules.

    Attributes:
        name: name of the node: a layer's dotted name, or `layer4.2/add` for an operation.
        kind: class of the module, or name of the operation.
        output: shape of the output for one image.
        kernel: height and width of the windows; None if the layer has none.
        stride: stride of the windows, in positions of the input.
        padding: rows added before and after, then columns added before and after; with the padding
            of any mode that the layer adds in operations of its own ("same", circular, reflection).
        dilation: distance between the taps of the kernel.
        groups: number of groups of channels of a convolution.
        parameters: number of learned parameters, counted at the layer that reads them first.
        by_formula: number of parameters by the formula (M²C+1) C_out of a convolution or (C+1)
            C_out of a fully connected layer, without the 1 if there is no bias. None for others.
        multiply_adds: number of multiply-adds for one image, without operations that are not
            counted.
        not_counted: names of operations that hold parameters and for which there is no formula.
        dense_weights: for a convolution, number of weights of a fully connected layer between
            tensors of the same sizes.
        field_size: rows and columns of the image that a position sees; None if they differ between
            positions or the output has no map.
        field_stride: pixels between the fields of neighboring positions.
        field_offset: first row and column that position (0, 0) sees; negative in the padding.
        sees_whole_image: whether a global operation makes the output depend on all of the image.
        followed: False if an operation before it is unknown, so that the field is taken as global.
        pre: whether a non-linearity consumes the output.
        post: whether a non-linearity returns the output.
        final: "pre" or "post" at the final convolutional layer.
        inputs: positions in `Anatomy.layers` of the layers whose outputs it reads; -1 is the image.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    kernel: Pair | None = None
    stride: Pair | None = None
    padding: tuple[int, int, int, int] | None = None
    dilation: Pair | None = None
    groups: int | None = None
    parameters: int = 0
    by_formula: int | None = None
    multiply_adds: int = 0
    not_counted: tuple[str, ...] = ()
    dense_weights: int | None = None
    field_size: Pair | None = None
    field_stride: Pair | None = None
    field_offset: Pair | None = None
    sees_whole_image: bool = False
    followed: bool = True
    pre: bool = False
    post: bool = False
    final: str | None = None
    inputs: tuple[int, ...] = ()
