"""The values that options accept are those of the library."""

import pytest

from convlens.analyses.attacks.criterion import LOSSES
from convlens.cli import options
from convlens.models.model import CENTERS
from convlens.models.networks.pooling import POOLINGS


@pytest.mark.parametrize(
    ("values", "known"),
    [
        (options.Loss, LOSSES),
        (options.NetworkPooling, POOLINGS),
        (options.Center, CENTERS),
    ],
)
def test_options_have_the_values_that_the_library_knows(values, known):
    assert tuple(value.value for value in values) == known
