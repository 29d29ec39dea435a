"""How the outputs of a network are read: as logits, as probabilities, or as neither."""

import pytest
import torch

import convlens
from convlens import ConvlensWarning
from convlens.models.output_head import PROBABILITIES
from support.public_functions import images


def assert_logits(model):
    """The outputs are the logits. Any warning fails the test."""
    assert torch.equal(convlens.predict(model, images()).logits, model(images()).detach())


def assert_no_logits(model):
    """The outputs are read as logits, with a warning that they are none."""
    with pytest.warns(ConvlensWarning, match="no logits"):
        assert_logits(model)


def assert_probabilities(model):
    """The outputs are read as probabilities, with a warning."""
    with torch.no_grad():
        outputs = model(images())
    with pytest.warns(ConvlensWarning, match="read as probabilities"):
        predictions = convlens.predict(model, images())
    assert predictions.output_head == PROBABILITIES
    assert torch.equal(predictions.probabilities, outputs)
    assert torch.equal(predictions.confidences, outputs.sort(dim=1, descending=True).values)
