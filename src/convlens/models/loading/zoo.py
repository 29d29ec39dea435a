"""Networks of torchvision and timm, with the preprocessing and labels of their weights."""

import math
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from convlens.data.preprocessing import Preprocessing
from convlens.errors import ConvlensError, suggest
from convlens.models.loading.reasons import describe_error
from convlens.models.model import Model

_RANDOM = "random"
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


def torchvision_model(text: str, *, weights: bool = True) -> Model:
    """A classification or segmentation network of torchvision, on the CPU.

    Args:
        text: `NAME` (its default weights), `NAME@WEIGHTS` or `NAME@random`.
        weights: False builds the architecture alone, its values to be filled in by the caller;
            nothing is downloaded, and the labels are those of the weights that it names.

    Raises:
        ConvlensError: an unknown name, unknown weights, or weights that cannot be downloaded.
    """
    from torchvision import models

    name, _, tag = text.partition("@")
    _check_torchvision_name(name)
    entry = _torchvision_weights(name, tag)
    fetch = weights and tag != _RANDOM
    if fetch:
        with _download("torchvision", name, entry.name):
            network = models.get_model(name, weights=entry)
        origin = f"torchvision's {name} with its weights {entry.name}"
    else:
        network = models.get_model(name, weights=None, **_untold_arguments(name, entry))
        origin = f"torchvision's {name} with random weights"
    labels = None
    if entry is not None and (fetch or not weights):
        labels = tuple(entry.meta["categories"])
    return Model(
        network=network,
        name=name,
        labels=labels,
        origin=f"{origin}; preprocessing of {entry.name if entry else 'ImageNet'}",
        **_torchvision_preprocessing(entry),
    )


def timm_model(text: str, *, weights: bool = True) -> Model:
    """A network of timm, on the CPU.

    Args:
        text: `NAME` (its default weights), `NAME@TAG` or `NAME@random`; the tag may also stand
            after a dot, as timm itself writes it, and then chooses the preprocessing of random
            weights.
        weights: False builds the architecture alone, its values to be filled in by the caller;
            nothing is downloaded, and the labels are those of the weights that it names.

    Raises:
        ConvlensError: an unknown name or tag, or weights that cannot be downloaded.
    """
    import timm
    from timm.data import ImageNetInfo, infer_imagenet_subset, resolve_model_data_config

    dotted, _, tag = text.partition("@")
    name, _, dotted_tag = dotted.partition(".")
    fetch = weights and tag != _RANDOM
    full = _timm_name(name, dotted_tag if tag in ("", _RANDOM) else tag, needs_weights=fetch)
    if fetch:
        with _download("timm", *full.split(".", 1)):
            _check_hub_in_reach(timm.get_pretrained_cfg(full))
            network = timm.create_model(full, pretrained=True)
        origin = f"timm's {name} with its weights {full}"
    else:
        network = timm.create_model(full, pretrained=False)
        origin = f"timm's {name} with random weights"
    subset = infer_imagenet_subset(network)
    labels = None
    if subset is not None and (fetch or not weights):
        labels = tuple(ImageNetInfo(subset).label_descriptions())
    config = resolve_model_data_config(network)
    preprocessing, deviation = _timm_preprocessing(config)
    return Model(
        network=network,
        name=name,
        preprocessing=preprocessing,
        channels=config["input_size"][0],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        labels=labels,
        origin=f"{origin}; preprocessing of {full}{deviation}",
    )


def torchvision_names() -> list[str]:
    """Torchvision's classification networks, then those for segmentation."""
    from torchvision import models

    return [*models.list_models(module=models), *models.list_models(module=models.segmentation)]


def timm_names() -> list[str]:
    """All networks of timm, without the tags of their weights."""
    import timm

    return list(timm.list_models())


def _check_torchvision_name(name: str) -> None:
    from torchvision import models

    known = torchvision_names()
    if name in known:
        return
    if name in models.list_models():
        raise ConvlensError(
            f"torchvision:{name} neither classifies images nor segments them; "
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
    if not names and tag != _RANDOM:
        raise ConvlensError(
            f"torchvision has no weights for {name}; use torchvision:{name}@random, "
            f"or file:PATH@torchvision:{name}@random with weights at hand"
        )
    if tag in ("", "DEFAULT", _RANDOM):
        return entries.DEFAULT if names else None
    if tag not in names:
        raise ConvlensError(
            f"torchvision:{name} has no weights {tag!r}; there are {', '.join(names)} and random"
        )
    return entries[tag]


def _untold_arguments(name: str, entry: Any) -> dict[str, Any]:
    """What torchvision passes to its builder only together with the weights that need it."""
    if name in ("googlenet", "inception_v3"):
        return {"transform_input": True, "init_weights": True}
    if name.startswith("lraspp"):
        return {"weights_backbone": None}
    if name.startswith(("fcn", "deeplabv3")):
        return {"weights_backbone": None, "aux_loss": True}
    if name.startswith("vit") and entry is not None:
        return {"image_size": entry.meta["min_size"][0]}
    return {}


def _torchvision_preprocessing(entry: Any) -> dict[str, Any]:
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


def _timm_name(name: str, tag: str, *, needs_weights: bool) -> str:
    """The checked name as timm writes it: `NAME.TAG`, or `NAME` where there are no weights."""
    import timm

    known = timm_names()
    if name not in known:
        raise ConvlensError(
            f"timm has no network {name!r}{suggest(name, known)}; convlens models lists them all"
        )
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{name}.*")]
    if needs_weights and not timm.is_model_pretrained(name):
        raise ConvlensError(
            f"timm has no weights for {name}; use timm:{name}@random, "
            f"or file:PATH@timm:{name} with weights at hand"
        )
    if tag and tag not in tags:
        raise ConvlensError(
            f"timm:{name} has no weights {tag!r}; there are {', '.join(tags)} and random"
        )
    default = timm.get_pretrained_cfg(name)
    if not tag and default is not None:
        tag = default.tag or ""
    return f"{name}.{tag}" if tag else name


def _timm_preprocessing(config: dict[str, Any]) -> tuple[Preprocessing, str]:
    """The preprocessing that timm evaluates with, and in words where it can only come close."""
    _, height, width = config["input_size"]
    mode, crop_pct = config["crop_mode"], config["crop_pct"]
    if mode == "squash":
        resize = None
        exact = crop_pct == 1
    else:
        resize = math.floor(max(height, width) / crop_pct)
        exact = mode == "center" and height == width
    preprocessing = Preprocessing(
        size=(height, width), resize=resize, interpolation=config["interpolation"]
    )
    if exact:
        return preprocessing, ""
    return (
        preprocessing,
        f", but for timm's crop mode {mode} at {crop_pct:g}, which is only approximated",
    )


@contextmanager
def _download(form: str, name: str, weights: str) -> Iterator[None]:
    """Turns a failed download into one line."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise ConvlensError(
            f"the weights {weights} of {form}:{name} are not on this computer and cannot be "
            f"downloaded ({describe_error(error)}); without a network, "
            f"file:PATH@{form}:{name}@{weights} and {form}:{name}@random work"
        ) from error


def _check_hub_in_reach(config: Any) -> None:
    """Fails at once without a network, where the hub's client would try again for a minute.

    Raises:
        OSError: the weights are not cached and the name of the hub's host cannot be resolved.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    if not config.hf_hub_id or getproxies():
        return  # from elsewhere; or a proxy resolves names for us
    repository = config.hf_hub_id.partition("@")[0]
    files = (config.hf_hub_filename, "model.safetensors", "pytorch_model.bin")
    if any(file and isinstance(try_to_load_from_cache(repository, file), str) for file in files):
        return
    socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)
