"""The names of the networks that `convlens.build` builds, known without torch."""

from convlens.errors import ConvlensError, suggest

VGG_NAMES = ("vgg16", "vgg11", "vgg13", "vgg19")
NETWORK_NAMES = (
    "allconv", "lenet5", "alexnet", *(f"{name}{bn}" for name in VGG_NAMES for bn in ("", "_bn")),
)  # fmt: skip


def check_network_name(name: str) -> None:
    """Raise ConvlensError, with the nearest names, for a name that is not in `NETWORK_NAMES`.

    Example:
        >>> check_network_name("vgg16_bn")
    """
    if name not in NETWORK_NAMES:
        raise ConvlensError(
            f"no network {name!r}{suggest(name, NETWORK_NAMES)}; there are "
            f"{', '.join(NETWORK_NAMES)}"
        )
