"""`diff`: everything that differs between two networks, on the same photos."""

from collections.abc import Callable, Collection
from dataclasses import replace

from torch import Tensor

from convlens.analyses.comparison.answers.answers import compare_answers
from convlens.analyses.comparison.further_parts import PARTS, FurtherParts
from convlens.analyses.comparison.layers.layer_comparison import compare_layers
from convlens.analyses.comparison.layers.layer_differences import LayerDifferences
from convlens.analyses.comparison.result import Diff
from convlens.analyses.comparison.weights.weights import compare_weights
from convlens.errors import ConvlensError, suggest
from convlens.models.labels import PhotoLabels
from convlens.models.model import Model, check_model
from convlens.passes.options import PassOptions
from convlens.passes.source import PhotosOrImages, check_photos, open_source, read_first_images
from convlens.results.network_result import keep_warnings
from convlens.runtime.callbacks import or_ignore

_LAYER_IMAGES = 2  # that the layers are compared on


@keep_warnings
def diff(
    first: Model,
    second: Model,
    photos: PhotosOrImages,
    *,
    labels: PhotoLabels | None = None,
    parts: Collection[str] = PARTS,
    seed: int = 0,
    notify: Callable[[str], None] | None = None,
    strict: bool = False,
    pass_options: PassOptions = PassOptions(),
) -> Diff:
    """Compare two networks: answers, weights, layers, channels, explanations and robustness.

    The networks may be two checkpoints of one architecture, two architectures, or one network in
    two formats or precisions. Each photo takes one forward pass of each network; layers are
    compared on two photos, and the further parts on a sample of them. Networks that are equal in
    every bit give equal results, so further parts are not computed for them.

    Args:
        first: the first model, such as the one before a change; left untouched.
        second: the second model; left untouched.
        photos: files, a data set of them, or images `(N, C, H, W)` inside the bounds of the first
            model, which the second one is given rescaled to its own bounds.
        labels: for each photo the indices of the right classes by the first network, or None;
            default: no labels, so that changed answers are neither lost nor gained.
        parts: what is compared beside answers, weights and the first layer that differs: "cka",
            "channels" (matched one to one), "filters", "gradcam", "robustness" and "shift".
            Default: all of them.
        seed: seed of everything that is random; default 0.
        notify: called with a sentence that states the cost of a part, before it runs; default: not
            called.
        strict: raise for a photo that cannot be read instead of leaving it out; default: leave it
            out.
        pass_options: how the pass over the photos runs; see `PassOptions`. Its stage is `answers`.
            Default: `PassOptions()`.

    Returns:
        What differs. Equal networks come out equal in every bit.

    Raises:
        ConvlensError: an unknown part; the networks have no class in common, or do not give one
            vector of class scores; labels that do not fit; no photo can be read.

    References:
        McNemar, Psychometrika 1947; Newcombe, Statistics in Medicine 1998, method 10. See also
        `cka` and `match_channels`.

    Example:
        >>> import copy, torch, convlens
        >>> network = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        ...     torch.nn.Flatten(), torch.nn.Linear(4, 2),
        ... )
        >>> changed = copy.deepcopy(network)
        >>> changed[0].weight.data[3, 1, 2, 0] += 1
        >>> models = [convlens.wrap(each, size=8) for each in (network, changed)]
        >>> result = convlens.diff(*models, torch.rand(10, 3, 8, 8), parts=["cka"])
        >>> result.weights.changes[0].name, result.layers.first_exceeding.name
        ('0.weight', '0')
        >>> convlens.diff(models[0], models[0], torch.rand(10, 3, 8, 8)).identical
        True
    """
    check_model(first)
    check_model(second)
    for part in parts:
        if part not in PARTS:
            raise ConvlensError(f"no part {part!r}{suggest(part, PARTS)}; give {', '.join(PARTS)}")
    photos = check_photos(first, photos)
    first, second = _tell_apart(first, second)
    weights = compare_weights(first, second)
    answers = compare_answers(
        first, second, photos, labels=labels, strict=strict, pass_options=pass_options
    )
    result = Diff(
        first=first.name,
        second=second.name,
        input_differences=_compare_inputs(first, second),
        weights=weights,
        layers=_compare_layers(first, second, photos),
        answers=answers,
    )
    if result.identical:
        return result
    further = FurtherParts(first, second, photos, labels, seed, or_ignore(notify))
    return further.add(result, parts)


def _tell_apart(first: Model, second: Model) -> tuple[Model, Model]:
    """Both models with names that differ: where they are the same, with their specs."""
    if first.name != second.name:
        return first, second
    specs = (first.spec, second.spec) if first.spec != second.spec else ("first", "second")
    return (
        replace(first, name=f"{first.name} ({specs[0] or 'first'})"),
        replace(second, name=f"{second.name} ({specs[1] or 'second'})"),
    )


def _compare_inputs(first: Model, second: Model) -> tuple[str, ...]:
    """How the preprocessing and the normalization of two models differ, in words."""
    pairs = (
        ("", first.preprocessing.summary(), second.preprocessing.summary()),
        ("channels ", first.channels, second.channels),
        ("mean ", _numbers(first.mean), _numbers(second.mean)),
        ("standard deviation ", _numbers(first.std), _numbers(second.std)),
        ("bounds ", _numbers(first.bounds), _numbers(second.bounds)),
        ("mean of ", first.center, second.center),
    )
    return tuple(
        f"{name}{before}, then {after}" for name, before, after in pairs if before != after
    )


def _numbers(values: tuple[float, ...]) -> str:
    """Numbers in words; the same number for all channels once."""
    several = values if len(set(values)) > 1 else values[:1]
    return ", ".join(f"{value:.4g}" for value in several)


def _compare_layers(first: Model, second: Model, photos: PhotosOrImages) -> LayerDifferences:
    """The differences of the layers on the first photos that can be read."""
    images = read_first_images(open_source(first, photos), _LAYER_IMAGES)
    if isinstance(photos, Tensor):
        return compare_layers(first, second, images)
    second_images = read_first_images(open_source(second, photos), _LAYER_IMAGES)
    return compare_layers(first, second, images, second_images=second_images)
