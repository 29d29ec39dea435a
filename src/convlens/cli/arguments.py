"""Groups of options that many commands share, each of which a command takes as one argument."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from functools import wraps
from typing import Any, get_type_hints

from convlens.cli import options as o

# These come first in --help; the other options of a group follow those of the command itself.
_FIRST = ("first", "second", "photos", "out", "overwrite", "model", "class_names")


@dataclass(frozen=True, kw_only=True)
class CommonArguments:
    """The options of every command that runs a network."""

    class_names: o.ClassNames = None
    size: o.Size = None
    device: o.Device = None
    seed: o.Seed = 0
    json: o.Json = False
    quiet: o.Quiet = False

    def of_model(self, spec: str) -> "ModelArguments":
        """The options by which another model is loaded."""
        shared = {field.name: getattr(self, field.name) for field in fields(CommonArguments)}
        return ModelArguments(model=spec, **shared)


@dataclass(frozen=True, kw_only=True)
class ModelArguments(CommonArguments):
    """The options of every command that loads a model."""

    model: o.ModelSpec = "default"


@dataclass(frozen=True, kw_only=True)
class PhotosArguments(CommonArguments):
    """The options of every pass over photos but the model and the folder of the result."""

    photos: o.PhotosOrTables
    overwrite: o.Overwrite = False
    column: o.Column = None
    engine: o.EngineName = o.EngineKind.local
    address: o.Address = None
    actors: o.Actors = None
    resume: o.Resume = False
    strict: o.Strict = False


@dataclass(frozen=True, kw_only=True)
class DatasetArguments(PhotosArguments):
    """The options of every pass over photos but the model."""

    out: o.Out


@dataclass(frozen=True, kw_only=True)
class CheckArguments(PhotosArguments, ModelArguments):
    """The options of a pass that writes a folder only if one is named."""

    out: o.OptionalOut = None


@dataclass(frozen=True, kw_only=True)
class PassArguments(DatasetArguments, ModelArguments):
    """The options of every command that runs a pass of one model over photos."""


@dataclass(frozen=True, kw_only=True)
class PairArguments(DatasetArguments):
    """The options of a command that runs two models over photos."""

    first: o.FirstModel
    second: o.SecondModel

    def of_first(self) -> PassArguments:
        """The options of a pass of the first model."""
        shared = {field.name: getattr(self, field.name) for field in fields(DatasetArguments)}
        return PassArguments(model=self.first, **shared)

    def of_second(self) -> ModelArguments:
        """The options by which the second model is loaded."""
        return self.of_model(self.second)


def with_arguments(
    group: type[CommonArguments], **defaults: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of a group; its first parameter takes all of them.

    Args:
        group: the class of the first parameter.
        **defaults: defaults of options, where they differ from those of the group.

    Returns:
        A decorator, to be written below `@app.command`. The function that it returns has one
        parameter for each option, from which typer makes the command line.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(group, include_extras=True)
        shared = {
            field.name: inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if field.default is MISSING else field.default,
                annotation=hints[field.name],
            )
            for field in fields(group)
        }
        for name, default in defaults.items():
            shared[name] = shared[name].replace(default=default)
        _, *command_parameters = (
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in inspect.signature(command, eval_str=True).parameters.values()
        )
        first = [shared.pop(name) for name in _FIRST if name in shared]
        parameters = [*first, *command_parameters, *shared.values()]

        @wraps(command)
        def expanded(**values: Any) -> None:
            arguments = group(**{field.name: values.pop(field.name) for field in fields(group)})
            command(arguments, **values)

        # typer reads both.
        expanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        expanded.__annotations__ = {item.name: item.annotation for item in parameters}
        return expanded

    return decorate
