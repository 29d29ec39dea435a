"""From a line of text to a Model: torchvision, timm, weight files, Python factories."""

import re
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from convlens.errors import ConvlensError, suggest
from convlens.models.loading.embedded import embedded_model
from convlens.models.loading.python_factory import factory_model
from convlens.models.loading.run_folder import find_run_folder, run_model
from convlens.models.loading.timm_models import timm_model, timm_names
from convlens.models.loading.torchvision_models import torchvision_model, torchvision_names
from convlens.models.loading.weight_files import load_weights, read_state_dict
from convlens.models.model import Model

_FORMS = (
    "default, torchvision:NAME[@WEIGHTS], timm:NAME[@TAG], file:PATH@ARCHITECTURE, "
    "python:MODULE:FACTORY, RUN (the folder of a training)"
)
# A path may hold an @ itself: the last one that an architecture follows is the one that counts.
_FILE = re.compile(r"(?P<path>.+)@(?P<architecture>default|(?:torchvision|timm|python):.+)")


def load(
    spec: str | Path | None = None,
    *,
    size: int | tuple[int, int] | None = None,
    device: str | None = None,
    seed: int = 0,
) -> Model:
    """A network with its preprocessing and labels, in eval mode.

    The global random state is left as it was.

    Args:
        spec: what to load; default: the embedded network.

            - `default`: EfficientNet-Lite0 with ImageNet weights, which needs no download;
            - `torchvision:NAME`, with `@WEIGHTS` for other weights than the default ones;
            - `timm:NAME`, likewise with `@TAG`;
            - either of these with `@random`: weights drawn from `seed`, and no labels;
            - `file:PATH@ARCHITECTURE`: weights from a safetensors file or a PyTorch state dict,
              class of network, preprocessing and labels from ARCHITECTURE, which is written in
              any of the other forms and whose own weights are neither used nor downloaded;
            - `python:MODULE:FACTORY`: what a function without arguments returns, an `nn.Module`
              or a Model. MODULE is importable (also from the current folder) or the path of a
              `.py` file. This runs the code in it;
            - `RUN`: the folder that a training wrote, with its best checkpoint; `RUN@last`, or
              `@` and the name of a checkpoint, for another; `@average`, also after that, puts
              average pooling before a fully connected stage that other sizes do not fit.
        size: height and width of the images in pixels; default: those of the weights. The resize
            before the crop changes in proportion.
        device: `cpu`, or an accelerator that is there (`cuda`, `cuda:1`, `mps`); default: the CPU,
            or where a factory put its network.
        seed: of random weights, and of what a factory draws.

    Raises:
        ConvlensError: nothing of that name, weights that cannot be read or downloaded or do not
            fit, NaN in them, or a device that is not there.
    """
    if device is not None:
        _check_device(device)
    text = "default" if spec is None else str(spec)
    wanted = (size, size) if isinstance(size, int) else size
    # Drawn on the CPU alone, so that no accelerator's random state needs to be kept.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = _build(text, size=wanted)
    _check_finite(model.network, text)
    model.network.eval()
    if device is not None:
        model.network.to(device)
    preprocessing = model.preprocessing
    if wanted is not None:
        preprocessing = preprocessing.with_size(*wanted)
    return replace(model, spec=text, preprocessing=preprocessing)


def list_models(containing: str = "") -> dict[str, list[str]]:
    """Names of the networks that `load` knows, by form; nothing is downloaded.

    Args:
        containing: list only names that contain this text, in any case. Default: all.

    Returns:
        `embedded`, `torchvision` and `timm`, each with its names. In a spec, the names of the
        latter two follow the form and a colon (`torchvision:resnet50`).

    Example:
        >>> import convlens
        >>> convlens.list_models("wide_resnet50")["torchvision"]
        ['wide_resnet50_2']
    """
    names = {"embedded": ["default"], "torchvision": torchvision_names(), "timm": timm_names()}
    return {
        form: [name for name in of_form if containing.casefold() in name.casefold()]
        for form, of_form in names.items()
    }


def _build(text: str, *, weights: bool = True, size: tuple[int, int] | None = None) -> Model:
    """The Model, or with `weights=False` its architecture to be filled from elsewhere."""
    form, _, rest = text.partition(":")
    if text == "default":
        return embedded_model(weights=weights)
    if form == "torchvision":
        return torchvision_model(rest, weights=weights)
    if form == "timm":
        return timm_model(rest, weights=weights)
    if form == "python":
        return factory_model(rest)
    if form == "file":
        return _file_model(rest)
    run = find_run_folder(text)
    if run is not None:
        return run_model(*run, size=size)
    raise ConvlensError(_unknown(text))


def _file_model(text: str) -> Model:
    parts = _FILE.fullmatch(text)
    if parts is None:
        raise ConvlensError(
            f"file:{text} does not name its architecture; write file:PATH@ARCHITECTURE, "
            f"for example file:{text.partition('@')[0] or 'PATH'}@torchvision:resnet50"
        )
    path = Path(parts["path"]).expanduser()
    state = read_state_dict(path)
    model = _build(parts["architecture"], weights=False)
    load_weights(model.network, state, path)
    return replace(
        model,
        name=f"{model.name} from {path.name}",
        origin=f"weights from {path}; architecture, preprocessing and labels of "
        f"{parts['architecture']}",
    )


def _unknown(text: str) -> str:
    if Path(text).is_file():
        return (
            f"{text} is a file; say what network its weights are for: file:{text}@ARCHITECTURE, "
            f"for example file:{text}@torchvision:resnet50"
        )
    known = [
        name if form == "embedded" else f"{form}:{name}"
        for form, names in list_models().items()
        for name in names
    ]
    same = [name for name in known if name.endswith(f":{text}")]
    hint = f"; nearest: {', '.join(same)}" if same else suggest(text, known)
    return f"unknown model {text!r}; give one of {_FORMS}{hint}"


def _check_device(device: str) -> None:
    here = ["cpu"]
    if torch.accelerator.is_available():
        kind = str(torch.accelerator.current_accelerator())
        here += [kind, *(f"{kind}:{index}" for index in range(torch.accelerator.device_count()))]
    if device not in here:
        raise ConvlensError(f"there is no device {device!r} here; there is {', '.join(here)}")


def _check_finite(network: nn.Module, text: str) -> None:
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if is_lazy(tensor) or not (tensor.is_floating_point() or tensor.is_complex()):
            continue
        bad = ~torch.isfinite(tensor)
        if not isinstance(tensor, nn.Parameter):
            bad &= tensor != -torch.inf  # attention masks hold it on purpose
        if bad.any():
            raise ConvlensError(
                f"{text}: {name} holds NaN or infinity in {int(bad.sum())} of {bad.numel()} "
                f"values; take weights from before the training diverged"
            )
