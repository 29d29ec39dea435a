"""The commands. Each loads a model, makes one public call and shows its result.

To add a command, write a file with the command here, its output in `convlens.cli.show`, and add the
name of the file to the list below.
"""

from importlib import import_module

# In the order in which --help lists them.
COMMANDS = (
    "report", "explore", "doctor", "check", "errors", "gradcam", "fgsm", "shift", "diff",
    "filters", "feature_maps", "patches", "selectivity", "maximize", "dream", "tuning", "cortex",
    "anatomy", "field", "effective_field", "models", "train", "chapter", "image", "detector",
    "convolution", "translation", "window", "layer", "pooling", "gabor", "learn_filters",
    "cache",
)  # fmt: skip

for _name in COMMANDS:
    import_module(f"{__name__}.{_name}")
