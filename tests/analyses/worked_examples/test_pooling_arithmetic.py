"""Pooling that is written out, against loops over the windows."""

import pytest
import torch

import convlens


def pooled(values, window, stride, summarize):
    starts = [range(0, length - window + 1, stride) for length in values.shape]
    return [
        [
            summarize(values[row : row + window, column : column + window].flatten().tolist())
            for column in starts[1]
        ]
        for row in starts[0]
    ]


@pytest.mark.parametrize(("window", "stride"), [(2, None), (3, 1), (2, 1)])
def test_pooled_maps_are_those_of_plain_loops(window, stride):
    values = torch.randint(0, 10, (5, 6), generator=torch.Generator().manual_seed(0)).float()
    result = convlens.pooling_arithmetic(values, window=window, stride=stride, shifts=[(1, -2)])
    shifted = torch.zeros(5, 6)
    shifted[1:, :4] = values[:4, 2:]
    for number, expected in enumerate((values, shifted)):
        assert torch.equal(result.values[number], expected)
        assert result.maximum[number].tolist() == pooled(expected, window, stride or window, max)
        means = pooled(expected, window, stride or window, lambda numbers: sum(numbers) / window**2)
        assert torch.allclose(result.average[number], torch.tensor(means))


def test_the_example_shows_where_invariance_holds():
    """Maxima stay in their windows under a shift to the right, and leave them to the left."""
    result = convlens.pooling_arithmetic()
    for number in (1, 2):
        changed = [
            sum(
                new != old
                for new, old in zip(maps[number].flatten(), maps[0].flatten(), strict=True)
            )
            for maps in (result.values, result.maximum, result.average)
        ]
        assert list(result.changed(number)) == changed
    assert result.changed(1)[1] == 0
    assert result.changed(2)[1] == 4
    assert "15 of 16 numbers change, 0 of 4 maxima and 4 of 4 means" in result.summary()
    assert "1 column to the left" in result.summary()


def test_the_figure_shows_all_numbers():
    result = convlens.pooling_arithmetic(torch.tensor([[11.0, 12.0], [13.0, 18.0]]), shifts=[])
    texts = [text.get_text() for text in result.figure().axes[0].texts]
    assert {"11", "12", "13", "18", "13.5"} <= set(texts)
    assert texts.count("18") == 2


def test_maps_and_windows_that_are_too_large_are_refused():
    with pytest.raises(convlens.ConvlensError, match="at most 12"):
        convlens.pooling_arithmetic(torch.zeros(20, 20))
    with pytest.raises(convlens.ConvlensError):
        convlens.pooling_arithmetic(window=5)
