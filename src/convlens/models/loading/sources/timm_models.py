"""Networks of timm, with the preprocessing and labels of their weights."""

import math
import socket
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from torch import nn

from convlens.data.preprocessing import Preprocessing
from convlens.errors import ConvlensError, suggest
from convlens.models.loading.sources.download import RANDOM, explain_failed_download
from convlens.models.model import Model


def timm_model(text: str, *, weights: bool = True) -> Model:
    """A network of timm, on the CPU.

    Args:
        text: `NAME` (its default weights), `NAME@TAG` or `NAME@random`; the tag may also stand
            after a dot, as timm itself writes it, and then chooses the preprocessing of random
            weights.
        weights: False makes the architecture with random weights, which the caller replaces;
            nothing is downloaded, and the labels are those of the named weights. Default: True.

    Raises:
        ConvlensError: an unknown name or tag, or weights that cannot be downloaded.
    """
    import timm
    from timm.data import ImageNetInfo, infer_imagenet_subset, resolve_model_data_config

    dotted, _, tag = text.partition("@")
    name, _, dotted_tag = dotted.partition(".")
    fetch = weights and tag != RANDOM
    full = _timm_name(name, dotted_tag if tag in ("", RANDOM) else tag, needs_weights=fetch)
    if fetch:
        with explain_failed_download("timm", *full.split(".", 1)):
            _check_hub_reachable(timm.get_pretrained_cfg(full))
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


def timm_architecture(name: str) -> nn.Module:
    """A network of timm with random weights, on torch's default device."""
    import timm

    network: nn.Module = timm.create_model(name, pretrained=False)
    return network


@cache
def timm_names() -> tuple[str, ...]:
    """Names of all networks of timm, without the tags of their weights."""
    import timm

    return tuple(timm.list_models())


def _timm_name(name: str, tag: str, *, needs_weights: bool) -> str:
    """The checked name as timm writes it: `NAME.TAG`, or `NAME` if there are no weights."""
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
    """The preprocessing that timm evaluates with, and a note if it is only approximated."""
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


def _check_hub_reachable(config: Any) -> None:
    """Fail at once without a network connection; the hub's client would retry for a minute.

    Raises:
        OSError: the weights are not cached, and the host name of the hub cannot be resolved.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    if not config.hf_hub_id or getproxies():
        return  # not from the hub, or a proxy resolves names
    repository = config.hf_hub_id.partition("@")[0]
    files = (config.hf_hub_filename, "model.safetensors", "pytorch_model.bin")
    if any(file and isinstance(try_to_load_from_cache(repository, file), str) for file in files):
        return
    socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)
