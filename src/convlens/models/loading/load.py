"""Load a Model from a spec: torchvision, timm, weight files, Python factories, run folders."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from convlens.errors import ConvlensError, describe_error, suggest
from convlens.models.loading.architectures import find_architecture
from convlens.models.loading.class_names import find_class_names, read_class_names
from convlens.models.loading.run_folder import read_run_folder, run_model
from convlens.models.loading.sources.embedded import embedded_model
from convlens.models.loading.sources.python_factory import factory_model
from convlens.models.loading.sources.timm_models import timm_model, timm_names
from convlens.models.loading.sources.torchvision_models import (
    detection_names,
    torchvision_model,
    torchvision_names,
)
from convlens.models.loading.specs import FORMS, Spec, find_run_folder, parse_spec
from convlens.models.loading.weights.classifier import count_outputs
from convlens.models.loading.weights.fitting import load_weights
from convlens.models.loading.weights.weight_files import read_weight_file
from convlens.models.model import Model
from convlens.models.supported import check_supported
from convlens.runtime.precision import float32_networks


def load(
    spec: str | Path | None = None,
    *,
    size: int | tuple[int, int] | None = None,
    class_names: str | Path | None = None,
    device: str | None = None,
    seed: int = 0,
) -> Model:
    """Load a network with its preprocessing and labels, in evaluation mode.

    The global random state is not changed.

    Args:
        spec: what to load; default: the embedded network.

            - `default`: EfficientNet-Lite0 with ImageNet weights, which needs no download;
            - `torchvision:NAME`: its default weights, or `torchvision:NAME@WEIGHTS`;
            - `timm:NAME`: its default weights, or `timm:NAME@TAG`;
            - `torchvision:NAME@random` or `timm:NAME@random`: weights drawn from `seed`, and no
              labels;
            - `NAME`: a network of torchvision or, if it has none of that name, of timm;
            - `PATH@ARCHITECTURE` or `file:PATH@ARCHITECTURE`: weights from a safetensors file or a
              PyTorch state dict, also inside a checkpoint. ARCHITECTURE is any of the other forms
              and gives the class of the network and its preprocessing; its own weights are neither
              used nor downloaded. A classifier of another size takes the size in the file. The
              labels are those in the checkpoint or, if it has none and the size is the same, those
              of the architecture. `Model.origin` says what was done to make the weights fit;
            - `PATH`: a weight file whose network is one of torchvision, or one of timm that the
              file or its name mentions. A checkpoint in the folder of a training is loaded as
              such;
            - `PATH.py:FACTORY` or `python:MODULE:FACTORY`: the `nn.Module` or Model that a function
              without arguments returns. MODULE is importable (also from the current folder) or the
              path of a `.py` file. This runs the code in it;
            - `RUN`: the folder that a training wrote, with its best checkpoint. `RUN@last`, or
              `RUN@` and the name of a checkpoint, loads another one; `@average`, also after that,
              puts average pooling before a fully connected stage that other sizes do not fit.
        size: height and width of the images in pixels; default: those of the weights. The resize
            before the crop changes in proportion.
        class_names: path of a file with the names of the classes, which replace the labels: a text
            file with one name a line in the order of the outputs, or JSON with a list of names or
            a mapping between names and indices. Default: the labels that the spec gives.
        device: `cpu` or an available accelerator (`cuda`, `cuda:1`, `mps`); default: the CPU, or
            the device that a factory chose.
        seed: seed of random weights, and of the random numbers that a factory draws; default 0.

    Returns:
        The Model.

    Raises:
        ConvlensError: an unknown name; weights that cannot be read or downloaded, do not fit the
            network or contain NaN; class names that cannot be read; a device that does not exist.

    Example:
        >>> import convlens
        >>> model = convlens.load("torchvision:squeezenet1_1@random", size=64)
        >>> model.name, model.size, model.labels
        ('squeezenet1_1', (64, 64), None)
    """
    if device is not None:
        _check_device(device)
    text = "default" if spec is None else str(spec)
    image_size = (size, size) if isinstance(size, int) else size
    names = read_class_names(Path(class_names).expanduser()) if class_names is not None else None
    # Weights are drawn on the CPU, so that the random state of accelerators is not touched.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model, full_spec = _build(parse_spec(text), size=image_size, class_names=class_names)
        if image_size is not None:
            preprocessing = model.preprocessing.with_size(*image_size)
            model = replace(model, preprocessing=preprocessing)
        _initialize_lazy_layers(model)
    check_supported(model.network)
    _check_finite(model.network, text)
    model.network.eval()
    if device is not None:
        model.network.to(device)
    if names is not None:
        model = replace(model, labels=names, class_names=str(class_names))
    return replace(model, spec=full_spec)


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
    names: dict[str, Sequence[str]] = {
        "embedded": ["default"],
        "torchvision": (*torchvision_names(), *detection_names()),
        "timm": timm_names(),
    }
    return {
        form: [name for name in form_names if containing.casefold() in name.casefold()]
        for form, form_names in names.items()
    }


def _build(
    spec: Spec,
    *,
    weights: bool = True,
    size: tuple[int, int] | None = None,
    class_names: str | Path | None = None,
) -> tuple[Model, str]:
    """The Model of a spec, and the spec with all that was left out.

    Args:
        spec: the spec.
        weights: False builds only the architecture, for other weights. Default: True.
        size: height and width of the images that a trained network will be given, in pixels.
            Default: those of its training.
        class_names: path of the file with the labels that the model will have instead. Default:
            none.
    """
    if spec.form == "name":
        spec = _find_library(spec.reference)
    full = f"{spec.form}:{spec.reference}"
    if spec.form == "python":
        return factory_model(spec.reference), full
    if spec.form == "file":
        return _file_model(spec, class_names)
    with float32_networks():
        if spec.form == "torchvision":
            return torchvision_model(spec.reference, weights=weights), full
        if spec.form == "timm":
            return timm_model(spec.reference, weights=weights), full
        if (run := find_run_folder(spec.reference)) is not None:
            return run_model(*run, size=size), spec.reference
        return embedded_model(weights=weights), "default"


def _find_library(name: str) -> Spec:
    """The spec of a network that is named without its library; torchvision comes before timm."""
    libraries = (
        ("torchvision", torchvision_names), ("torchvision", detection_names), ("timm", timm_names),
    )  # fmt: skip
    for library, names in libraries:
        if re.split("[.@]", name)[0] in names():
            return Spec(library, name)
    if (run := find_run_folder(name)) is not None:
        read_run_folder(run[0])  # raises, as the folder is not that of a training
    raise ConvlensError(_unknown(name))


def _file_model(spec: Spec, class_names: str | Path | None) -> tuple[Model, str]:
    path = Path(spec.reference)
    file = read_weight_file(path)
    architecture = spec.architecture or find_architecture(file)
    model, architecture = _build(parse_spec(architecture), weights=False)
    loaded = load_weights(model.network, file)
    # The labels of the architecture are those of other classes if the file changed their number.
    labels, source = (None if loaded.classes else model.labels), architecture
    classes = count_outputs(model.network)
    if classes is not None and (names := find_class_names(file, classes)) is not None:
        labels, source = names, "the file"
    if class_names is not None:
        labels_text = f"labels of {class_names}"
    else:
        labels_text = f"labels of {source}" if labels else "no labels"
    inferred = "" if spec.architecture else ", recognized by the weights"
    origin = (
        f"weights from {path}{loaded.summary()}; architecture and preprocessing of "
        f"{architecture}{inferred}; {labels_text}"
    )
    name = f"{model.name} from {path.name}"
    return replace(model, name=name, labels=labels, origin=origin), f"file:{path}@{architecture}"


def _unknown(text: str) -> str:
    models = list_models()
    names = [name for names in models.values() for name in names]
    full = [f"{form}:{name}" for form in ("torchvision", "timm") for name in models[form]]
    return f"unknown model {text!r}; give one of {FORMS}{suggest(text, (*names, *full))}"


def _check_device(device: str) -> None:
    available = ["cpu"]
    if torch.accelerator.is_available():
        kind = str(torch.accelerator.current_accelerator())
        available += [
            kind,
            *(f"{kind}:{index}" for index in range(torch.accelerator.device_count())),
        ]
    if device not in available:
        raise ConvlensError(f"there is no device {device!r} here; there is {', '.join(available)}")


def _initialize_lazy_layers(model: Model) -> None:
    """Run a network once if it has layers whose parameters are created at the first run."""
    tensors = (*model.network.parameters(), *model.network.buffers())
    if not any(is_lazy(tensor) for tensor in tensors):
        return
    images = torch.zeros(1, model.channels, *model.size, dtype=torch.float32)
    try:
        with torch.no_grad():
            model.network.eval()(images)
    except Exception as error:
        channels, height, width = images.shape[1:]
        raise ConvlensError(
            f"{model.name} has layers that are created at its first run, and does not run on an "
            f"image of {channels} x {height} x {width} ({describe_error(error)}); give another size"
        ) from error


def _check_finite(network: nn.Module, text: str) -> None:
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if not (tensor.is_floating_point() or tensor.is_complex()):
            continue
        module = network.get_submodule(name.rpartition(".")[0])
        statistics = isinstance(module, nn.modules.batchnorm._NormBase)
        if isinstance(tensor, nn.Parameter) or statistics:
            invalid = ~torch.isfinite(tensor)
        else:  # buffers such as attention masks hold infinity on purpose
            invalid = torch.isnan(tensor)
        if invalid.any():
            raise ConvlensError(
                f"{text}: {name} holds NaN or infinity in {int(invalid.sum())} of "
                f"{invalid.numel()} values; take weights from before the training diverged"
            )
