"""Several batches run together where that does not change their logits."""

from unittest.mock import patch

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convlens
from convlens.analyses.predictions import predictions
from convlens.analyses.predictions.predictions import compute_logits_together


class Network(nn.Module):
    """`batch` normalizes by the images of its batch, and `single` takes one image at a time."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.convolution, self.scores = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)
        self.kind = kind

    def forward(self, images):
        maps = self.convolution(images)
        if self.kind == "batch":
            maps = F.batch_norm(maps, None, None, training=True)
        if self.kind == "single":
            if len(images) > 1:
                raise ValueError("one image at a time")
            return self.scores(maps[0].relu().mean((1, 2)))[None]
        return self.scores(maps.relu().mean((2, 3)))


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
