"""The options that the Grad-CAM functions share: keywords, signatures, combinations."""

import inspect
from dataclasses import fields
from typing import get_type_hints

import pytest
import torch

from convlens import ConvlensError, GradCamOptions, gradcam, gradcam_layers, gradcams, randomization
from convlens.analyses.gradcam.options import GradCamKeywords


def test_keywords_are_the_fields():
    assert get_type_hints(GradCamKeywords) == get_type_hints(GradCamOptions)
    options = GradCamOptions(classes="cat", side="post")
    assert GradCamOptions(**options.keywords()) == options


@pytest.mark.parametrize("function", [gradcam, gradcam_layers, gradcams, randomization])
def test_signatures_spell_out_the_options(function):
    parameters = inspect.signature(function).parameters
    for field in fields(GradCamOptions):
        assert parameters[field.name].default == field.default
    assert all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values())


def test_combinations_that_exclude_each_other():
    with pytest.raises(ConvlensError, match="give one of them"):
        GradCamOptions(target=torch.sum, classes=1)
    with pytest.raises(ConvlensError, match="no side 'before'"):
        GradCamOptions(side="before")  # type: ignore[arg-type]
