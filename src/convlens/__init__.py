"""convlens builds and trains convolutional networks and shows what a trained network has learned.

    import convlens

    model = convlens.load()                      # the embedded default network, or another one
    images = model.prepare(["cat.jpg"])
    convlens.gradcam(model, images, classes="tiger cat").save("cat")

The public names are listed in `__init__.pyi`. A module is imported when one of its names is first
used, so that `import convlens` itself imports no torch.
"""

from typing import Any

import lazy_loader

__version__ = "0.2.0"

_import_name, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name in __all__:
        return _import_name(name)
    from convlens.errors import suggest

    raise AttributeError(
        f"module 'convlens' has no attribute {name!r}{suggest(name, __all__)}", name=name
    )
