"""The epsilons of few images are scored in one call, with the same numbers as one by one."""

from unittest.mock import patch

import pytest
import torch

import convlens
from convlens.analyses.attacks import fgsm
from support.batch_networks import Network

pytestmark = pytest.mark.filterwarnings("ignore::convlens.errors.ConvlensWarning")
EPSILONS = [f"{level}/255" for level in (1, 2, 4, 8, 16)]


@pytest.mark.parametrize("kind", ["usual", "single", "batch"])
def test_each_epsilon_has_the_logits_that_it_has_alone(kind):
    model = convlens.wrap(Network(kind).eval(), size=8)
    images = torch.rand(1, 3, 8, 8)
    together = convlens.fgsm(model, images, EPSILONS)
    for number, epsilon in enumerate(EPSILONS):
        alone = convlens.fgsm(model, images, [epsilon])
        for name in ("adversarial_logits", "noise_logits"):
            torch.testing.assert_close(
                getattr(together, name)[number], getattr(alone, name)[0], rtol=1e-5, atol=1e-6
            )
        assert torch.equal(together.largest_changes[number], alone.largest_changes[0])


@pytest.mark.parametrize(
    ("kind", "count", "size", "batches"),
    [("usual", 1, 8, [5]), ("usual", 8, 8, [40]), ("usual", 20, 8, [60, 40]),
     ("usual", 1, 32, [4, 1]), ("single", 1, 8, [1] * 5), ("batch", 1, 8, [1] * 5)],
)  # fmt: skip
def test_epsilons_are_scored_in_one_call_where_images_do_not_change_one_another(
    kind, count, size, batches
):
    model = convlens.wrap(Network(kind).eval(), size=8)
    with patch.object(fgsm, "compute_logits", side_effect=fgsm.compute_logits) as compute:
        convlens.fgsm(model, torch.rand(count, 3, size, size), EPSILONS)
    assert [len(call.args[2]) for call in compute.call_args_list] == 2 * batches


@pytest.mark.parametrize(("count", "folds"), [(6, False), (7, True)])
def test_batch_normalizations_are_folded_where_many_images_are_scored(count, folds):
    model = convlens.wrap(Network("usual").eval(), size=8)
    with patch.object(fgsm, "fold_batch_norms", side_effect=fgsm.fold_batch_norms) as fold:
        convlens.fgsm(model, torch.rand(count, 3, 8, 8), EPSILONS)  # and as many random signs
    assert fold.called == folds
