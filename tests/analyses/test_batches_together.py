"""Several batches run together where that does not change their logits."""

from unittest.mock import patch

import pytest
import torch

import convlens
from convlens.analyses.predictions import predictions
from convlens.analyses.predictions.predictions import compute_logits_together
from support.batch_networks import Network


@pytest.mark.filterwarnings("ignore::convlens.errors.ConvlensWarning")
@pytest.mark.parametrize(
    ("kind", "counts", "calls"),
    [("usual", [2, 3], [5]), ("usual", [20, 40], [30, 30]), ("batch", [2, 3], [2, 3]),
     ("single", [1, 1, 1], [1, 1, 1])],
)  # fmt: skip
def test_each_batch_has_the_logits_that_it_has_alone(kind, counts, calls):
    model = convlens.wrap(Network(kind).eval(), size=8)
    images = torch.rand(sum(counts), 3, 8, 8, generator=torch.Generator().manual_seed(0))
    batches, trace = images.split(counts), convlens.trace(model)
    with patch.object(predictions, "compute_logits", side_effect=predictions.compute_logits) as run:
        together = compute_logits_together(model, trace, batches)
    assert [len(call.args[2]) for call in run.call_args_list] == calls
    with torch.no_grad():
        for logits, batch in zip(together, batches, strict=True):
            torch.testing.assert_close(logits, model(batch))
