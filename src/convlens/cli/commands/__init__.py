"""The commands. Each parses its options, calls one public function and shows its result."""

# In the order in which --help lists them.
from convlens.cli.commands import (  # isort: skip
    report, anatomy, field, models, filters, gradcam, fgsm, shift, selectivity, patches, maximize,
    dream, tuning, feature_maps, cortex, doctor, train,
)  # fmt: skip

__all__ = [
    "anatomy", "cortex", "doctor", "dream", "feature_maps", "fgsm", "field", "filters", "gradcam",
    "maximize", "models", "patches", "report", "selectivity", "shift", "train", "tuning",
]  # fmt: skip
