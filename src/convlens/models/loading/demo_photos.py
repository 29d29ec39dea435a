"""Eight photos from packages that pip installs."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from convlens.errors import ConvlensError

# The file of each photo in its package, and the ImageNet classes that are right answers.
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
    """A photo from an installed package.

    Attributes:
        path: the file.
        classes: labels of the embedded network that are right for the photo.
    """

    path: Path
    classes: tuple[str, ...]


def demo_photos() -> list[DemoPhoto]:
    """Eight photos from the wheels of scikit-image, scikit-learn and matplotlib.

    The packages are not imported.

    Raises:
        ConvlensError: a package is not installed, or is installed without its photos.
    """
    photos = []
    for name, classes in _PHOTOS.items():
        package, _, path_in_package = name.partition("/")
        path = find_demo_package(package) / path_in_package
        if not path.is_file():
            raise ConvlensError(
                f"{path} is missing from the installed {package}; "
                f'its wheel from PyPI brings it: pip install "convlens[demo]"'
            )
        photos.append(DemoPhoto(path=path, classes=classes))
    return photos


def find_demo_package(package: str) -> Path:
    """The folder of an installed package, which is not imported.

    Raises:
        ConvlensError: the package is not installed.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConvlensError(
            f'the package {package} is not installed; pip install "convlens[demo]" brings it'
        )
    return Path(spec.submodule_search_locations[0])
