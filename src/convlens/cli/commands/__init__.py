"""The commands. Each loads a model, makes one public call and shows its result.

To add a command, write a file with the command here, its output in `convlens.cli.show`, and add the
name of the file to the list below.
"""

# In the order in which --help lists them.
from convlens.cli.commands import (  # isort: skip
    report, doctor, gradcam, fgsm, shift, filters, feature_maps, patches, selectivity, maximize,
    dream, tuning, cortex, anatomy, field, models, train,
)  # fmt: skip

__all__ = [
    "anatomy", "cortex", "doctor", "dream", "feature_maps", "fgsm", "field", "filters", "gradcam",
    "maximize", "models", "patches", "report", "selectivity", "shift", "train", "tuning",
]  # fmt: skip
