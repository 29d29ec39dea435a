"""The photos of a page: what the network answers to each, where it looks, what flips it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from convlens.analyses.anatomy.anatomy import Anatomy
from convlens.analyses.attacks.fgsm import Fgsm, fgsm
from convlens.analyses.attacks.flip import Flip, find_flip
from convlens.analyses.deepdream.deepdream import Dream, dream
from convlens.analyses.gradcam.boxes import Box, boxes_on_image
from convlens.analyses.gradcam.deletion_insertion import deletion_insertion
from convlens.analyses.gradcam.gradcam import gradcam
from convlens.analyses.gradcam.pointing_game import pointing_game
from convlens.analyses.gradcam.randomization import Randomization, randomization
from convlens.analyses.predictions.predictions import predict
from convlens.analyses.preprocessing_check.preprocessing_check import Diagnosis, check_preprocessing
from convlens.data.photo_names import shortest_unique_paths
from convlens.data.photos import Photo, read_photo
from convlens.errors import PhotoError
from convlens.models.labels import class_name, match_labels
from convlens.models.model import Model
from convlens.page import budget
from convlens.page.budget import spread
from convlens.page.progress import Desk
from convlens.page.schema import LeftOut, PhotoReport, Turn
from convlens.text import printable_path
from convlens.tracing.trace import trace

_STEP = 3.0  # forward passes that a step of a dream costs, about
_SPEED = 4e10  # multiply-adds a second, on two cores
_PASSES = 24  # forward passes of the doctor for each photo, about


def read_photos(
    model: Model,
    paths: Sequence[Path],
    table: Mapping[str, tuple[int, ...]],
    strict: bool,
    desk: Desk,
) -> tuple[list[PhotoReport], list[LeftOut]]:
    """What the network answers to each photo, and the photos that cannot be read."""
    read, skipped = [], []
    expected = dict(zip(paths, match_labels(paths, table), strict=True))
    names = dict(zip(paths, shortest_unique_paths(paths), strict=True))
    for path in desk.each("predictions", paths):
        try:
            photo = _readable(path)
        except PhotoError as error:
            if strict:
                raise
            skipped.append(LeftOut(printable_path(path), str(error)))
            continue
        right = expected[path]
        row = PhotoReport(
            name=names[path],
            path=str(path),
            notes=photo.notes,
            expected=right,
            expected_names=tuple(class_name(model.labels, one) for one in right or ()),
        )
        with desk.section("predictions"):
            said = predict(model, model.prepare(photo))
            row = replace(
                row,
                predictions=said,
                names=said.names[0],
                probabilities=tuple(said.confidences[0].tolist()),
                right=int(said.classes[0, 0]) in right if right else None,
            )
        read.append(row)
    if not read:
        raise PhotoError(f"none of {len(skipped)} photos can be read; {skipped[0].reason}")
    return read, skipped


def _readable(path: Path) -> Photo:
    photo = read_photo(path)
    if printable_path(path) != str(path):
        raise PhotoError(
            f"{printable_path(path)} has a name that is no UTF-8, "
            "which no page can quote; rename it"
        )
    return photo


def look(
    model: Model,
    row: PhotoReport,
    layer: str | None,
    classes: list[int | str] | None,
    table: Mapping[str, tuple[Box, ...]] | None,
    seed: int,
    desk: Desk,
) -> PhotoReport:
    """A photo in full: its maps and its flip."""
    image, cam, proof, attack, turned = None, None, None, None, None
    boxes: tuple[Box, ...] = ()
    with desk.section("predictions"):
        image = model.prepare(row.path)
        boxes = boxes_on_image(model, row.path, table or {})
    if image is None:
        return row
    with desk.section("gradcam"):
        found = trace(model)
        top = min(2, found.num_outputs)
        drawn = list(dict.fromkeys(box.classes[0] for box in boxes))[: budget.CLASSES]
        cam = gradcam(model, image, classes=classes or drawn or None, top=top, layer=layer)
    if cam is not None:
        with desk.section("evidence"):
            proof = deletion_insertion(model, cam, seed=seed)
    with desk.section("flip"):
        attack = fgsm(model, image, score=False, seed=seed)
        turned = find_flip(model, attack, seed=seed)
    return replace(
        row,
        shown=True,
        image=image.cpu(),
        gradcam=cam,
        peaks=tuple(cam.statistics(0, rank) for rank in range(cam.maps.shape[1])) if cam else (),
        shares=tuple(cam.channels(0, rank, top=budget.SHARES) for rank in range(cam.maps.shape[1]))
        if cam
        else (),
        evidence=proof,
        boxes=tuple(box.sides for box in boxes),
        pointing=pointing_game(cam, [boxes]) if cam and table is not None else None,
        fgsm=attack,
        flip=turned,
        turn=_turn(model, attack, turned) if attack and turned else None,
    )


def randomized(
    model: Model,
    rows: Sequence[PhotoReport],
    layer: str | None,
    classes: list[int | str] | None,
    seed: int,
    desk: Desk,
) -> Randomization | None:
    """The sanity check of the maps on a few photos, in as many stages as there is time for."""
    shown = [one for one in rows if one.gradcam is not None and one.image is not None]
    if not shown or shown[0].predictions is None:
        return None
    each = max(desk.seconds.get("gradcam", 0.0) / len(shown), 1e-9) * budget.RANDOM_DRAWS
    runs = int(budget.RANDOM.seconds / each)
    few = spread(shown, max(1, min(budget.RANDOM.items, runs // 2)))
    images = [one.image for one in few if one.image is not None]
    return randomization(
        model,
        torch.cat(images).to(model.device),
        classes=classes,
        layer=layer,
        stages=max(1, min(budget.RANDOM_STAGES, runs // len(few))),
        draws=budget.RANDOM_DRAWS,
        seed=seed,
        progress=lambda done, total: desk.tell("randomization", done, total),
    )


def _turn(model: Model, attack: Fgsm, turned: Flip) -> Turn:
    first = turned.flip_levels[0]
    level = turned.levels[-1] if first is None else first
    at = turned.levels.index(level)
    return Turn(
        level=level,
        flipped=first is not None,
        name=class_name(model.labels, int(turned.predictions[at, 0])),
        confidence=float(turned.confidences[at, 0]),
        noise_name=class_name(model.labels, int(turned.noise_predictions[at, 0])),
        noise_flipped=bool(turned.noise_flipped[at, 0]),
        largest=turned.largest_changes[0],
        reverted=turned.reverted[0],
        zero_gradients=float(attack.zero_gradients[0]),
    )


def dream_of(
    model: Model, rows: Sequence[PhotoReport], structure: Anatomy, seed: int, desk: Desk
) -> Dream | None:
    """A dream of the first photo shown, with as many steps as there are seconds for.

    That is reckoned from the network's size, and not measured: two pages of one network are equal.
    """
    photo = next((one for one in rows if one.shown), None)
    if photo is None:
        return None
    height, width = model.size
    octaves = sum(1.4 ** (-2 * k) for k in range(budget.DREAM_OCTAVES))  # in pixels of the last
    runs = _STEP * octaves * budget.DREAM_SIDE**2 / (height * width)
    seconds = runs * structure.multiply_adds / _SPEED
    steps = min(budget.DREAM_STEPS, max(2, int(budget.DREAM.seconds / max(seconds, 1e-9))))
    found = dream(
        model,
        photo.path,
        octaves=budget.DREAM_OCTAVES,
        steps=steps,
        size=budget.DREAM_SIDE,
        seed=seed,
        progress=lambda done, total: desk.tell("dream", done, total),
    )
    if found.interrupted:
        raise KeyboardInterrupt  # meant for the page
    return found


def diagnose(model: Model, read: Sequence[PhotoReport], desk: Desk) -> Diagnosis | None:
    each = desk.seconds.get("predictions", 0.0) / len(read)
    affordable = int(budget.DOCTOR.seconds / max(each * _PASSES, 1e-9))
    most = max(1, min(budget.DOCTOR.items, affordable))
    labeled = [one for one in read if one.expected]
    chosen = spread(labeled or read, most)
    with desk.section("doctor"):
        return check_preprocessing(
            model,
            [one.path for one in chosen],
            labels=[one.expected for one in chosen] if labeled else None,
            progress=lambda done, total: desk.tell("doctor", done, total),
        )
    return None
