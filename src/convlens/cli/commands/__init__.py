"""The commands. Each loads a model, calls one view and shows its result."""

# In the order in which --help lists them.
from convlens.cli.commands import (  # isort: skip
    report, network, filters, gradcam, fgsm, shift, selectivity, patches, maximize, dream, cells,
    feature_maps, doctor, train,
)  # fmt: skip

__all__ = [
    "cells", "doctor", "dream", "feature_maps", "fgsm", "filters", "gradcam", "maximize", "network",
    "patches", "report", "selectivity", "shift", "train",
]  # fmt: skip
