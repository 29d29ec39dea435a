"""`attack_photos`: attack a folder of photos by FGSM, each with its flip, and draw the curve.

    OUT/PHOTO/                   adversarial images and signs, as `Fgsm.save` writes them
    OUT/PHOTO/flip/              the smallest change in gray levels that flips the prediction
    OUT/PHOTO/internal-changes/  the channels that change most, if asked for
    OUT/curve/                   accuracy against epsilon over all photos
    OUT/numbers.json             the numbers of all of these
    OUT/index.html               the pictures of all photos; OUT/contact-sheet.png one of each

Memory does not grow with the images of the photos, only with their numbers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from convlens.analyses.attacks.criterion import AttackCriterion
from convlens.analyses.attacks.dataset_pass import robustness
from convlens.analyses.attacks.epsilon import Epsilon, parse_epsilons
from convlens.analyses.attacks.fgsm import fgsm
from convlens.analyses.attacks.fgsm_result import Fgsm
from convlens.analyses.attacks.flip import Flip, find_flip
from convlens.analyses.attacks.internal_changes import InternalChanges
from convlens.analyses.attacks.internal_changes import internal_changes as find_internal_changes
from convlens.analyses.attacks.pgd import STEPS
from convlens.analyses.attacks.photo_result import (
    ChannelChange,
    PhotoAttack,
    PhotoAttacks,
    PhotoFlip,
)
from convlens.analyses.predictions.photo_labels import check_label_count
from convlens.capture.folded_networks import keep_folded_networks
from convlens.data.datasets.photo_dataset import PhotoDataset, as_dataset
from convlens.data.datasets.pictures import as_photos
from convlens.data.photo_names import unique_folder_names
from convlens.data.photos import PhotoLike
from convlens.data.sampling import spread
from convlens.errors import PhotoError
from convlens.files import NUMBERS, atomic_folder
from convlens.models.labels import PhotoLabels, class_names
from convlens.models.model import Model, check_model
from convlens.passes.options import PassOptions
from convlens.results import Result
from convlens.results.folder import find_pictures, write_overview
from convlens.results.index import CONTACT_SHEET, INDEX, IndexGroup, IndexPicture
from convlens.results.network_result import keep_warnings, warnings_so_far
from convlens.results.numbers import numbers_of
from convlens.text import json_text
from convlens.wording import counted

_CURVE, _FLIP, _INTERNAL_CHANGES = "curve", "flip", "internal-changes"


@keep_warnings
@keep_folded_networks()
def attack_photos(
    model: Model,
    photos: PhotoLike | Sequence[PhotoLike] | PhotoDataset,
    epsilons: Epsilon | Sequence[Epsilon] = ("1/255", "2/255", "4/255", "8/255"),
    *,
    out: str | Path,
    classes: str | int | None = None,
    labels: PhotoLabels | None = None,
    target: str | int | None = None,
    loss: str = "cross-entropy",
    pgd_steps: int = STEPS,
    show: int = 16,
    internal_changes: bool = False,
    seed: int = 0,
    strict: bool = False,
    command: str | None = None,
    pass_options: PassOptions = PassOptions(),
) -> PhotoAttacks:
    """Attack photos by FGSM, find the smallest change that flips each, and draw the curve.

    This is what the command `convlens fgsm` does: `robustness` over all photos, and `fgsm`,
    `find_flip` and, if asked for, `internal_changes` for some of them.

    Args:
        model: the model to attack; left untouched.
        photos: files, in this order, or a data set of them.
        epsilons: the largest change of a pixel, one or several. A fraction as text ("8/255") is of
            the span of the bounds; a plain number is in the units of the image. Default: 1/255,
            2/255, 4/255 and 8/255.
        out: the folder to write, whole or not at all. An earlier one of this kind is replaced.
        classes: the class t to move away from, by name or index. Default: the photo's label, or
            else the network's prediction.
        labels: for each photo the indices of the classes that are right (the first is attacked), or
            None if they are not known; default: no labels.
        target: instead, the class to move towards, by name or index; default: none.
        loss: E: "cross-entropy", or "margin" (the highest other logit minus that of t). Default:
            "cross-entropy".
        pgd_steps: the number of steps of PGD in the curve; 0 leaves PGD out. Default: 10.
        show: how many photos get a folder of their own, evenly spread, where there is a curve.
            Without a curve every photo gets one. Default: 16.
        internal_changes: also find the channels that the largest epsilon changes most, with
            Grad-CAM before and after; default: False.
        seed: seed of everything that is drawn; default 0.
        strict: raise for a photo that cannot be read instead of leaving it out; default: leave it
            out.
        command: the command line that does this, which `index.html` and `numbers.json` state.
            Default: none.
        pass_options: how the pass of the curve runs; see `PassOptions`. Progress is also reported
            of the stage `photos`. Default: `PassOptions()`.

    Returns:
        The numbers of every photo and the curve.

    Raises:
        ConvlensError: if an epsilon, the loss, a class or the labels cannot be used, or the folder
            cannot be written.
        PhotoError: if none of the photos can be read or, with `strict`, one cannot.

    Example:
        >>> import numpy, tempfile, torch, convlens
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 4))
        >>> model = convlens.wrap(network, size=8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     photo = Path(folder, "photo.png")
        ...     Image.fromarray(numpy.zeros((8, 8, 3), numpy.uint8)).save(photo)
        ...     result = convlens.attack_photos(model, [photo], ["8/255"], out=Path(folder, "out"))
        >>> [(attack.photo, attack.fractions) for attack in result.attacks] == [
        ...     ("photo.png", (8 / 255,))]
        True
    """
    check_model(model)
    dataset = as_dataset(as_photos(photos))
    sizes = [epsilons] if isinstance(epsilons, (str, int, float)) else list(epsilons)
    parse_epsilons(sizes, model.bounds)  # fail before any work is done
    AttackCriterion(classes, None, target, loss)
    check_label_count(labels, len(dataset))
    settings = _Settings(sizes, classes, target, loss, internal_changes, seed)
    with_curve = len(dataset) > 1 and classes is None and target is None
    attacked_numbers = spread(range(len(dataset)), max(show, 0) if with_curve else len(dataset))
    skipped: list[str] = []
    attacks: list[PhotoAttack] = []
    numbers: dict[str, Any] = {}
    groups: list[IndexGroup] = []
    formula, curve = "", None
    with atomic_folder(out, marker=NUMBERS) as written:
        if with_curve:
            curve = robustness(
                model,
                dataset,
                sizes,
                labels=labels,
                loss=loss,
                pgd_steps=pgd_steps,
                seed=seed,
                strict=strict,
                pass_options=pass_options,
            )
            curve.save(written / _CURVE)
            pictures = find_pictures(written, _CURVE, tuple(curve.pictures()))
            groups.append(IndexGroup("all photos", pictures, folder=_CURVE))
        images = _prepare_each(model, dataset, attacked_numbers, skipped, strict=strict)
        for number, name, image in images:
            label = ((labels and labels[number]) or (None,))[0]
            results = _attack_image(model, image, label, settings)
            pictures = _save(written, name, results.by_folder())
            groups.append(IndexGroup(name, pictures, folder=name))
            numbers[name] = results.numbers()
            attacks.append(_summarize(model, name, results))
            formula = results.attack.formula
            pass_options.progress("photos", len(attacks), len(attacked_numbers))
        reasons = [*skipped, *(curve.skipped if curve is not None else ())]
        result = PhotoAttacks(
            folder=str(out),
            attacks=tuple(attacks),
            curve=curve,
            skipped=tuple(dict.fromkeys(reasons)),
            formula=formula,
            warnings=warnings_so_far(),
        )
        text = json_text(numbers_of(result, command=command) | {"photos": numbers})
        (written / NUMBERS).write_text(text, encoding="utf-8")
        _write_overview(written, result, groups, len(dataset), command)
    return result


@dataclass(frozen=True)
class _Settings:
    """How each photo is attacked; the fields are arguments of `attack_photos`."""

    epsilons: Sequence[Epsilon]
    classes: str | int | None
    target: str | int | None
    loss: str
    internal_changes: bool
    seed: int


@dataclass(frozen=True)
class _PhotoResults:
    """The results of one photo.

    Attributes:
        attack: the attack.
        flip: the smallest change that flips the prediction; None with a target.
        changes: what changes inside the network; None if it was not asked for.
    """

    attack: Fgsm
    flip: Flip | None
    changes: InternalChanges | None

    def by_folder(self) -> dict[str, Result]:
        """The results by the name of their folder inside the photo's own; "" for the attack."""
        results = {"": self.attack, _FLIP: self.flip, _INTERNAL_CHANGES: self.changes}
        return {folder: result for folder, result in results.items() if result is not None}

    def numbers(self) -> dict[str, Any]:
        """The fields of the attack; those of the other results under their names."""
        others = {
            folder.replace("-", "_"): result.to_json()
            for folder, result in self.by_folder().items()
            if folder
        }
        return {**self.attack.to_json(), **others}


def _attack_image(
    model: Model, image: Tensor, label: int | None, settings: _Settings
) -> _PhotoResults:
    """Attack an image `(1, C, H, W)`; its label is used where no class is given."""
    use_label = label is not None and settings.classes is None and settings.target is None
    seed = settings.seed
    attack = fgsm(
        model, image, settings.epsilons, classes=settings.classes,
        labels=[label] if use_label else None, target=settings.target, loss=settings.loss,
        seed=seed,
    )  # fmt: skip
    return _PhotoResults(
        attack,
        find_flip(model, attack, seed=seed) if settings.target is None else None,
        find_internal_changes(model, attack, seed=seed) if settings.internal_changes else None,
    )


def _prepare_each(
    model: Model,
    dataset: PhotoDataset,
    numbers: Sequence[int],
    skipped: list[str],
    *,
    strict: bool,
) -> Iterator[tuple[int, str, Tensor]]:
    """Yield number, folder name and image `(1, C, H, W)` of some photos, decoded one at a time.

    Photos that cannot be read are left out, and the reasons are added to `skipped`.

    Raises:
        PhotoError: if none can be read or, with `strict`, one cannot.
    """
    readable = 0
    names = unique_folder_names(
        [dataset.name(number) for number in numbers], taken=(NUMBERS, INDEX, CONTACT_SHEET, _CURVE)
    )
    for number, name in zip(numbers, names, strict=True):
        try:
            image = model.prepare(dataset[number])
        except PhotoError as error:
            if strict:
                raise
            skipped.append(str(error))
            continue
        readable += 1
        yield number, name, image
    if numbers and not readable:
        raise PhotoError(f"none of {len(numbers)} photos can be read; the first: {skipped[0]}")


def _save(root: Path, name: str, results: Mapping[str, Result]) -> tuple[IndexPicture, ...]:
    """Write the results of a photo to its folder, by the names of their own folders in it.

    Returns:
        The pictures, for the index in `root`.
    """
    pictures: list[IndexPicture] = []
    for part, result in results.items():
        tensors = result.pictures()
        result.save(root / name / part, pictures=tensors, photo=name)
        pictures += find_pictures(root, f"{name}/{part}", tuple(tensors), photo=name)
    return tuple(pictures)


def _write_overview(
    folder: Path,
    result: PhotoAttacks,
    groups: Sequence[IndexGroup],
    num_photos: int,
    command: str | None,
) -> None:
    attacks = result.attacks
    left_out = ""
    if len(attacks) < num_photos:
        left_out = f"Pictures of {len(attacks)} of {counted(num_photos, 'photo')}, evenly spread."
    python = ""
    if attacks:
        python = f"attack = convlens.Result.load({attacks[0].photo!r})"
    write_overview(folder, result, groups, left_out=left_out, command=command, python=python)


def _summarize(model: Model, name: str, results: _PhotoResults) -> PhotoAttack:
    """The numbers of a photo's results, without its images."""
    attack, flip, changes = results.attack, results.flip, results.changes
    flipped = attack.flipped
    noise_predictions, noise_flipped = attack.noise_predictions, attack.noise_flipped
    assert flipped is not None
    assert noise_predictions is not None
    assert noise_flipped is not None
    assert attack.largest_changes is not None
    return PhotoAttack(
        photo=name,
        class_name=attack.names[0],
        class_origin=attack.class_origins[0],
        prediction=attack.prediction_names[0],
        epsilons=attack.epsilons,
        fractions=attack.fractions,
        adversarial_predictions=tuple(names[0] for names in attack.adversarial_names),
        flipped=tuple(flipped[:, 0].tolist()),
        noise_predictions=class_names(model.labels, noise_predictions[:, 0].tolist()),
        noise_flipped=tuple(noise_flipped[:, 0].tolist()),
        largest_changes=tuple(attack.largest_changes[:, 0].tolist()),
        flip=_summarize_flip(flip) if flip is not None else None,
        changed_channels=tuple(
            ChannelChange(*row) for row in (changes.most_changed() if changes is not None else ())
        ),
        diagnostics=attack.diagnostics,
    )


def _summarize_flip(flip: Flip) -> PhotoFlip:
    level = flip.flip_levels[0]
    row = len(flip.levels) - 1 if level is None else flip.levels.index(level)
    return PhotoFlip(
        level=level,
        highest_level=flip.levels[-1],
        prediction=flip.names[0],
        reverted=flip.reverted[0],
        noise_flipped=bool(flip.noise_flipped[row, 0]),
        largest_change=flip.largest_changes[0],
    )
