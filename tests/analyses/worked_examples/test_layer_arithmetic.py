"""Parameters and sizes of a layer, against torch's own layer."""

import pytest
import torch

import convlens


@pytest.mark.parametrize(
    ("inputs", "outputs", "kernel", "size", "padding", "stride", "bias"),
    [(3, 2, 3, 32, 1, 1, True), (5, 7, 4, 19, 0, 3, False), (1, 6, 5, 28, 2, 2, True)],
)
def test_counts_are_those_of_a_layer_of_torch(inputs, outputs, kernel, size, padding, stride, bias):
    layer = torch.nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=bias)
    output = layer(torch.zeros(1, inputs, size, size))
    result = convlens.layer_arithmetic(
        inputs, outputs, kernel=kernel, size=size, padding=padding, stride=stride, bias=bias
    )
    assert result.parameters == sum(tensor.numel() for tensor in layer.parameters())
    assert result.output == output.shape[-1]
    assert result.multiply_adds == layer.weight.numel() * output[0, 0].numel()
    assert result.dense_weights == inputs * size**2 * output.numel()
    assert f"= {result.parameters:,}\n" in result.equations()
    assert ("+ 1)" in result.equations()) == bias


def test_vgg16_by_default():
    result = convlens.layer_arithmetic()
    assert (result.parameters, result.output) == (1792, 224)
    texts = [text.get_text() for text in result.figure().axes[0].texts]
    assert "64 filters of 3 × 3 × 3 and a bias" in texts
    assert texts.count("… 61 more") == 2


def test_layers_that_cannot_exist_are_refused():
    with pytest.raises(convlens.ConvlensError, match="at least 1 of each"):
        convlens.layer_arithmetic(0, 4)
    with pytest.raises(convlens.ConvlensError, match="shorter than the filter"):
        convlens.layer_arithmetic(3, 4, kernel=9, size=4, padding="valid")
