"""The photos of a page: what the network answers to each, where it looks, what flips it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from convlens.errors import PhotoError
from convlens.labels import class_name, labels_of
from convlens.model import Model
from convlens.page import budget
from convlens.page.budget import spread
from convlens.page.desk import Desk
from convlens.page.parts import LeftOut, PhotoReport, Turn
from convlens.photos import read_photo
from convlens.views.answers import answers
from convlens.views.doctor import Diagnosis, doctor
from convlens.views.evidence import evidence
from convlens.views.fgsm import Fgsm, fgsm
from convlens.views.flips import Flips, flips
from convlens.views.gradcam import gradcam

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
    expected = dict(zip(paths, labels_of(paths, table), strict=True))
    for path in desk.each("answers", paths):
        try:
            photo = read_photo(path)
        except PhotoError as error:
            if strict:
                raise
            skipped.append(LeftOut(str(path), str(error)))
            continue
        right = expected[path]
        row = PhotoReport(
            name=path.name,
            path=str(path),
            notes=photo.notes,
            expected=right,
            expected_names=tuple(class_name(model.labels, one) for one in right or ()),
        )
        with desk.section("answers"):
            said = answers(model, model.prepare(photo))
            row = replace(
                row,
                answers=said,
                names=said.names[0],
                probabilities=tuple(said.confidences[0].tolist()),
                right=int(said.classes[0, 0]) in right if right else None,
            )
        read.append(row)
    if not read:
        raise PhotoError(f"none of {len(skipped)} photos can be read; {skipped[0].reason}")
    return read, skipped


def look(
    model: Model,
    row: PhotoReport,
    layer: str | None,
    classes: list[int] | None,
    seed: int,
    desk: Desk,
) -> PhotoReport:
    """A photo in full: its maps and its flip."""
    image, cam, proof, attack, turned = None, None, None, None, None
    with desk.section("answers"):
        image = model.prepare(row.path)
    if image is None:
        return row
    with desk.section("gradcam"):
        top = 2 if row.answers is None else min(2, row.answers.logits.shape[1])
        cam = gradcam(model, image, classes=classes, top=top, layer=layer)
    if cam is not None:
        with desk.section("evidence"):
            proof = evidence(model, cam, seed=seed)
    with desk.section("flips"):
        attack = fgsm(model, image, score=False, seed=seed)
        turned = flips(model, attack, seed=seed)
    return replace(
        row,
        shown=True,
        image=image.cpu(),
        gradcam=cam,
        peaks=tuple(cam.peak(0, rank) for rank in range(cam.maps.shape[1])) if cam else (),
        evidence=proof,
        fgsm=attack,
        flips=turned,
        turn=_turn(model, attack, turned) if attack and turned else None,
    )


def _turn(model: Model, attack: Fgsm, turned: Flips) -> Turn:
    first = turned.first[0]
    level = turned.levels[-1] if first is None else first
    at = turned.levels.index(level)
    return Turn(
        level=level,
        flipped=first is not None,
        name=class_name(model.labels, int(turned.answers[at, 0])),
        confidence=float(turned.confidences[at, 0]),
        noise_name=class_name(model.labels, int(turned.noise_answers[at, 0])),
        noise_flipped=bool(turned.noise_flipped[at, 0]),
        largest=turned.largest[0],
        came_back=turned.came_back[0],
        zero_gradients=float(attack.zero_gradients[0]),
    )


def diagnose(model: Model, read: Sequence[PhotoReport], desk: Desk) -> Diagnosis | None:
    each = desk.seconds.get("answers", 0.0) / len(read)
    affordable = int(budget.DOCTOR.seconds / max(each * _PASSES, 1e-9))
    most = max(1, min(budget.DOCTOR.items, affordable))
    labelled = [one for one in read if one.expected]
    chosen = spread(labelled or read, most)
    with desk.section("doctor"):
        return doctor(
            model,
            [one.path for one in chosen],
            labels=[one.expected for one in chosen] if labelled else None,
            progress=lambda done, total: desk.tell("doctor", done, total),
        )
    return None
