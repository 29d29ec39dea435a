"""Networks of torchvision, with the preprocessing and labels of their weights."""

from functools import cache
from typing import Any

from torch import nn

from convlens.data.preprocessing import Preprocessing
from convlens.errors import ConvlensError, suggest
from convlens.models.loading.sources.download import RANDOM, explain_failed_download
from convlens.models.model import Model

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


def torchvision_model(text: str, *, weights: bool = True) -> Model:
    """A classification, segmentation or detection network of torchvision, on the CPU.

    Args:
        text: `NAME` (its default weights), `NAME@WEIGHTS` or `NAME@random`.
        weights: False makes the architecture with random weights, which the caller replaces;
            nothing is downloaded, and the labels are those of the named weights. Default: True.

    Raises:
        ConvlensError: an unknown name, unknown weights, or weights that cannot be downloaded.
    """
    from torchvision import models

    name, _, tag = text.partition("@")
    _check_torchvision_name(name)
    entry = _torchvision_weights(name, tag)
    fetch = weights and tag != RANDOM
    if fetch:
        with explain_failed_download("torchvision", name, entry.name):
            network = models.get_model(name, weights=entry)
        origin = f"torchvision's {name} with its weights {entry.name}"
    else:
        network = models.get_model(name, weights=None, **_builder_arguments(name, entry))
        origin = f"torchvision's {name} with random weights"
    labels = None
    if entry is not None and (fetch or not weights):
        labels = tuple(entry.meta["categories"])
    return Model(
        network=network,
        name=name,
        labels=labels,
        origin=f"{origin}; preprocessing of {entry.name if entry else 'ImageNet'}",
        **_torchvision_preprocessing(entry, network),
    )


@cache
def torchvision_names() -> tuple[str, ...]:
    """Names of torchvision's classification networks, then of those for segmentation."""
    from torchvision import models

    segmentation = models.list_models(module=models.segmentation)
    return (*models.list_models(module=models), *segmentation)


def count_torchvision_parameters(name: str) -> int:
    """Number of parameters of a network with its default weights; 0 if there are no weights.

    Those of auxiliary classifiers are counted only for segmentation.

    Example:
        >>> count_torchvision_parameters("resnet18")
        11689512
    """
    entry = _torchvision_weights(name, RANDOM)
    return entry.meta["num_params"] if entry is not None else 0


def torchvision_architecture(name: str) -> nn.Module:
    """A network of torchvision with random weights, on torch's default device."""
    from torchvision import models

    arguments = _builder_arguments(name, _torchvision_weights(name, RANDOM))
    network: nn.Module = models.get_model(name, weights=None, **arguments)
    return network


def find_torchvision_file(name: str) -> str | None:
    """The spec of the weights that torchvision downloads to a file of a name; None if unknown.

    Example:
        >>> find_torchvision_file("resnet18-f37072fd.pth")
        'torchvision:resnet18@IMAGENET1K_V1'
    """
    from torchvision import models

    for network in torchvision_names():
        for entry in models.get_model_weights(network):
            if entry.url.endswith(f"/{name}"):
                return f"torchvision:{network}@{entry.name}"
    return None


@cache
def detection_names() -> tuple[str, ...]:
    """Names of torchvision's detection networks."""
    from torchvision import models

    return tuple(models.list_models(module=models.detection))


def _check_torchvision_name(name: str) -> None:
    from torchvision import models

    known = (*torchvision_names(), *detection_names())
    if name in known:
        return
    if name in models.list_models():
        raise ConvlensError(
            f"torchvision:{name} takes no single images as networks for classification, "
            f"segmentation and detection do (it is quantized, or takes videos or pairs); "
            f"convlens models lists the networks that can be loaded"
        )
    raise ConvlensError(
        f"torchvision has no network {name!r}{suggest(name, known)}; convlens models lists them all"
    )


def _torchvision_weights(name: str, tag: str) -> Any:
    """The entry of torchvision's weights enum; for random weights the default one, or None."""
    from torchvision import models

    entries = models.get_model_weights(name)
    names = [entry.name for entry in entries]
    if not names and tag != RANDOM:
        raise ConvlensError(
            f"torchvision has no weights for {name}; use torchvision:{name}@random, "
            f"or file:PATH@torchvision:{name}@random with weights at hand"
        )
    if tag in ("", "DEFAULT", RANDOM):
        return entries.DEFAULT if names else None
    if tag not in names:
        raise ConvlensError(
            f"torchvision:{name} has no weights {tag!r}; there are {', '.join(names)} and random"
        )
    return entries[tag]


def _builder_arguments(name: str, entry: Any) -> dict[str, Any]:
    """Arguments that torchvision gives a builder only together with weights."""
    if name in ("googlenet", "inception_v3"):
        return {"transform_input": True, "init_weights": True}
    if name.startswith("lraspp") or name in detection_names():
        return {"weights_backbone": None}
    if name.startswith(("fcn", "deeplabv3")):
        return {"weights_backbone": None, "aux_loss": True}
    if name.startswith("vit") and entry is not None:
        return {"image_size": entry.meta["min_size"][0]}
    return {}


def _torchvision_preprocessing(entry: Any, network: nn.Module) -> dict[str, Any]:
    from torchvision.models.detection.transform import GeneralizedRCNNTransform

    if isinstance(transform := getattr(network, "transform", None), GeneralizedRCNNTransform):
        # A detection network resizes and normalizes itself; photos of one size make a batch.
        side = max(transform.fixed_size or transform.min_size[:1])
        preprocessing = Preprocessing(size=(side, side))
        return {"preprocessing": preprocessing, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    if entry is None:
        preprocessing = Preprocessing(size=(224, 224), resize=256, interpolation="bilinear")
        return {"preprocessing": preprocessing, "mean": _IMAGENET_MEAN, "std": _IMAGENET_STD}
    transforms = entry.transforms()
    (resize,) = transforms.resize_size
    # Those for segmentation do not crop; a square is what a batch of photos needs.
    (crop,) = getattr(transforms, "crop_size", transforms.resize_size)
    preprocessing = Preprocessing(
        size=(crop, crop), resize=resize, interpolation=transforms.interpolation.value
    )
    return {
        "preprocessing": preprocessing,
        "mean": tuple(transforms.mean),
        "std": tuple(transforms.std),
    }
