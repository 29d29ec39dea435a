"""What loads a model again: words of a command line, arguments of `load`, a line of Python."""

from convlens.models.model import Model


def load_options(model: Model, seed: int = 0) -> tuple[list[str], list[str]]:
    """What loads the same model again.

    Args:
        model: a model that `convlens.load` returned. For a wrapped network, which has no `spec`,
            only size, device and seed are meaningful.
        seed: seed of what is computed with the model; it is added where it is not 0. Default: 0.

    Returns:
        Words of a command line, and arguments of `convlens.load` as Python code.

    Example:
        >>> import torch, convlens
        >>> load_options(convlens.wrap(torch.nn.Conv2d(3, 4, 3), size=8), seed=1)
        (['--size', '8', '--seed', '1'], ['size=8', 'seed=1'])
    """
    words: list[str] = []
    arguments: list[str] = []
    if model.spec not in (None, "default"):
        words += ["--model", str(model.spec)]
        arguments.append(repr(model.spec))
    if model.spec != "default" or model.size != (224, 224):
        height, width = model.size
        words += ["--size", f"{height}" if height == width else f"{height}x{width}"]
        arguments.append(f"size={height if height == width else model.size}")
    if model.class_names is not None:
        words += ["--class-names", model.class_names]
        arguments.append(f"class_names={model.class_names!r}")
    if model.device.type != "cpu":
        words += ["--device", str(model.device)]
        arguments.append(f"device={str(model.device)!r}")
    if seed:
        words += ["--seed", str(seed)]
        arguments.append(f"seed={seed}")
    return words, arguments


def load_line(model: Model, seed: int = 0, variable: str = "model") -> str:
    """The line of Python that makes the same model again.

    Args:
        model: as `load_options` takes it.
        seed: as `load_options` takes it; default 0.
        variable: name of the model in the code; default: "model".

    Returns:
        A call of `convlens.load`; for a wrapped network a comment that names what to fill in.

    Example:
        >>> import torch, convlens
        >>> load_line(convlens.wrap(torch.nn.Conv2d(3, 4, 3)), variable="first")
        '# first: your own network, in convlens.wrap(...)'
    """
    if model.spec is None:
        return f"# {variable}: your own network, in convlens.wrap(...)"
    _, arguments = load_options(model, seed)
    return f"{variable} = convlens.load({', '.join(arguments)})"
