"""Probabilities and predictions, against what the network itself returns."""

import torch
from torch import Tensor

import convlens
from fuzz.case import Case, Mismatch


def check(case: Case) -> None:
    """Check the probabilities that `predict` gives."""
    if case.program.head == "segmentation":
        return
    predictions = convlens.predict(case.model, case.images, top=1)
    right = probabilities(case)
    if predictions.probabilities.shape != right.shape or not torch.allclose(
        predictions.probabilities, right, atol=2e-5, rtol=1e-3
    ):
        if case.program.head == "ensemble" and predictions.warnings:
            return
        raise Mismatch(
            f"probabilities ({case.program.head}: {case.program.statements[-1].line}): "
            f"{predictions.probabilities[0]}, right {right[0]}"
        )


def probabilities(case: Case) -> Tensor:
    """The probability of each class by the network's own output, `(N, classes)`."""
    returned = case.values["returned"]
    if isinstance(returned, dict):
        returned = returned["logits"]
    elif isinstance(returned, tuple):
        returned = returned[0]
    output = returned.reshape(len(case.images), -1)
    if case.program.head == "logits":
        return output.sigmoid() if output.shape[1] == 1 else output.softmax(1)
    if case.program.head in ("log softmax", "log sigmoid"):
        return output.exp()
    if case.program.head == "negative log":
        return (-output).exp()
    if case.program.head == "percent":
        return output / 100
    return output
