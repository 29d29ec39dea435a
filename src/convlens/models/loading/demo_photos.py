"""Eight photos from packages that pip installs."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from convlens.errors import ConvlensError

# Where each photo lies, and the ImageNet classes that a fair person would accept for it.
_PHOTOS = {
    "skimage/data/chelsea.png": ("tabby, tabby cat", "tiger cat", "Egyptian cat"),
    "skimage/data/coffee.png": ("espresso", "cup"),
    "skimage/data/camera.png": ("tripod",),
    # ImageNet has two classes for missiles and none for a rocket that stands on its pad.
    "skimage/data/rocket.jpg": ("missile", "projectile, missile"),
    # A motorcycle, which ImageNet lacks: its two other two-wheelers with a motor.
    "skimage/data/motorcycle_left.png": ("moped", "motor scooter, scooter"),
    # The Buddhist tower of the Summer Palace in Beijing.
    "sklearn/datasets/images/china.jpg": ("palace", "monastery"),
    # A dahlia, of the daisy family, which ImageNet has no other flower of.
    "sklearn/datasets/images/flower.jpg": ("daisy",),
    "matplotlib/mpl-data/sample_data/grace_hopper.jpg": ("military uniform",),
}


@dataclass(frozen=True)
class DemoPhoto:
    """A photo that comes with pip.

    Attributes:
        path: the file, in the package that brings it.
        classes: labels of the embedded network that are a right answer, chosen by looking at
            the photo.
    """

    path: Path
    classes: tuple[str, ...]


def demo_photos() -> list[DemoPhoto]:
    """Eight photos from the wheels of scikit-image, scikit-learn and matplotlib.

    The packages are not imported.

    Raises:
        ConvlensError: a package is missing, or came without its photos.
    """
    photos = []
    for place, classes in _PHOTOS.items():
        package, _, inside = place.partition("/")
        path = find_demo_package(package) / inside
        if not path.is_file():
            raise ConvlensError(
                f"{path} is missing from the installed {package}; "
                f'its wheel from PyPI brings it: pip install "convlens[demo]"'
            )
        photos.append(DemoPhoto(path=path, classes=classes))
    return photos


def find_demo_package(package: str) -> Path:
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ConvlensError(
            f'the package {package} is not installed; pip install "convlens[demo]" brings it'
        )
    return Path(found.submodule_search_locations[0])
