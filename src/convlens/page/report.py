"""Gathers what the views say about a network and photos, and writes the page.

Every number comes from a view. Photos are looked at one by one, so that memory stays small and
each photo's numbers are those that its own command gives.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from convlens import __version__
from convlens.analyses.anatomy.anatomy import anatomy
from convlens.analyses.filters.filters import Filters, filters
from convlens.analyses.gabor.noise_test import fit_gabor
from convlens.analyses.gradcam.boxes import Box, read_boxes
from convlens.analyses.preprocessing_check.preprocessing_check import Diagnosis
from convlens.data.datasets.photo_dataset import check_photo_list
from convlens.data.photo_names import find_keys
from convlens.errors import ConvlensError
from convlens.files import atomic_folder
from convlens.models.labels import class_name, find_class_pair
from convlens.models.loading.demo_photos import demo_photos
from convlens.models.model import Model, check_model
from convlens.models.output_head import describe_prediction_rule
from convlens.page import budget
from convlens.page.attacks import attacked, shifted, slides_of
from convlens.page.budget import spread
from convlens.page.channels import cells_of, excite, maps_through
from convlens.page.findings import findings
from convlens.page.photos import diagnose, dream_of, look, randomized, read_photos
from convlens.page.progress import Desk, Progress
from convlens.page.render import render
from convlens.page.schema import Cells, LayerMaps, PhotoReport, Report, Slide, Subject
from convlens.page.synthetic import channels_maximized, classes_maximized
from convlens.tracing.trace import trace

Classes = str | int | Sequence[str | int]

_MARKER = "report.json"


def report(
    model: Model,
    photos: Sequence[str | Path] | None = None,
    *,
    out: str | Path,
    labels: Mapping[str, Sequence[int]] | None = None,
    layer: str | None = None,
    classes: Classes | None = None,
    boxes: str | Path | None = None,
    seed: int = 0,
    strict: bool = False,
    command: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Write one self-contained page about a network and photos, and its numbers as JSON.

    Args:
        model: the model, left untouched.
        photos: files; default: the photos that come along with the embedded network.
        out: folder for `index.html` and `report.json`; an earlier report there is replaced.
        labels: indices of the right classes by the photo's path or the end of it, such as its
            file's name, as `read_labels` gives them.
        layer: for Grad-CAM; default: the final convolutional layer.
        classes: for Grad-CAM; default: those of the photo's boxes, else its two highest.
        boxes: a CSV file of objects on the photos, as `read_boxes` takes it.
        seed: of the noise that the attack is compared with.
        strict: stop at a photo that cannot be read, instead of leaving it out.
        command: the command line that makes this page, to be shown on it.
        progress: called with (stage, done, of how many).

    Raises:
        ConvlensError: no photos, an unknown layer or class, a network that does not run on its own
            size, or a folder that cannot be written or holds something else.
        PhotoError: no photo can be read; with `strict`, one cannot.
    """
    paths, table = _given(model, photos, labels)
    desk = Desk(progress)
    with atomic_folder(out, marker=_MARKER) as folder:
        chosen = _check(model, layer, classes)
        drawn = _drawn(model, boxes, paths, table)
        read, skipped = read_photos(
            model, spread(paths, budget.PREDICTIONS.items), table, strict, desk
        )
        diagnosis = diagnose(model, read, desk)
        looked = {}
        for one in desk.each("photos", spread(read, budget.PHOTOS.items)):
            looked[one.path] = look(model, one, layer, chosen, drawn, seed, desk)
        rows = tuple(looked.get(one.path, one) for one in read)
        structure, first, excited, sanity = None, None, None, None
        with desk.section("randomization"):
            sanity = randomized(model, rows, layer, chosen, seed, desk)
        with desk.section("channels"):
            excited = excite(model, rows, seed, desk)
        cells: tuple[Cells, ...] = ()
        with desk.section("cells"):
            cells = cells_of(model)
        maxima = channels_maximized(model, excited, seed, desk) if excited else ()
        loved = classes_maximized(model, rows, seed, desk)
        curve, moved = None, None
        of_curve: tuple[int, ...] = ()
        of_shift: tuple[int, ...] = ()
        slides: tuple[Slide, ...] = ()
        with desk.section("robustness"):
            curve, of_curve = attacked(model, rows, seed, desk)
            slides = slides_of(model, rows, seed)
        with desk.section("shift"):
            moved, of_shift = shifted(model, rows, seed, desk)
        with desk.section("anatomy"):
            structure = anatomy(model)
        layered: tuple[LayerMaps, ...] = ()
        with desk.section("maps"):
            layered = maps_through(model, rows)
        dreamt = None
        with desk.section("dream"):
            dreamt = dream_of(model, rows, structure, seed, desk) if structure else None
        alike = None
        with desk.section("filters"):
            first = filters(model)
            alike = fit_gabor(model, null=budget.NOISE, seed=seed)
        made = Report(
            folder=str(out),
            model=_subject(model),
            findings=(),
            photos=rows,
            skipped=tuple(skipped),
            given=len(paths),
            scale=max((one.gradcam.scale for one in rows if one.gradcam), default=None),
            randomization=sanity,
            diagnosis=diagnosis,
            anatomy=structure,
            filters=first,
            gabor_fit=alike,
            r2=tuple(alike.r2.tolist()) if alike else (),
            patches=excited,
            maximized=maxima,
            classes=loved,
            cells=cells,
            robustness=curve,
            attacked=of_curve,
            slides=slides,
            shift=moved,
            shifted=of_shift,
            norms=tuple(first.norms.tolist()) if first else (),
            silent=first.silent if first else (),
            maps=layered,
            dream=dreamt,
            failures=desk.failures,
            left_out=_left_out(len(paths), len(read) + len(skipped), rows, diagnosis, first),
            options={
                "layer": layer,
                "classes": ", ".join(map(str, chosen)) if chosen is not None else None,
                "boxes": str(boxes) if boxes is not None else None,
                "seed": seed,
                "strict": strict,
            },
            command=command,
            versions=_versions(),
            made=datetime.now().astimezone().isoformat(timespec="minutes"),
            seconds=desk.seconds,
        )
        made = replace(made, findings=findings(made))
        with desk.section("page"):
            page, unpaid = render(model, made)
        # The pictures that found no room are known only now; the page lists them by itself.
        made = replace(made, left_out=made.left_out + unpaid, seconds=desk.seconds)
        (folder / "index.html").write_text(page, encoding="utf-8")
        text = json.dumps(made.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
        (folder / _MARKER).write_text(text + "\n", encoding="utf-8")
    return made


def _given(
    model: Model, photos: Sequence[str | Path] | None, labels: Mapping[str, Sequence[int]] | None
) -> tuple[list[Path], dict[str, tuple[int, ...]]]:
    """The photos, and the right classes by the end of their paths."""
    check_model(model)
    check_photo_list(photos)
    if photos is not None:
        if not photos:
            raise ConvlensError("no photos; give at least one")
        return [Path(photo) for photo in photos], {
            name: tuple(classes) for name, classes in (labels or {}).items()
        }
    if model.spec != "default" or model.labels is None:
        raise ConvlensError(
            f"the photos that come along are for the embedded default; give photos for {model.name}"
        )
    demo = demo_photos()
    own = {
        photo.path.name: tuple(model.labels.index(label) for label in photo.classes)
        for photo in demo
    }
    given = {name: tuple(classes) for name, classes in (labels or {}).items()}
    return [photo.path for photo in demo], given or own


def _drawn(
    model: Model, boxes: str | Path | None, paths: Sequence[Path], labels: Mapping[str, Any]
) -> dict[str, tuple[Box, ...]] | None:
    """The boxes; that they and the labels name one photo each is seen before any work."""
    drawn = read_boxes(boxes, model) if boxes is not None else None
    find_keys(paths, labels)
    find_keys(paths, drawn or {})
    return drawn


def _check(model: Model, layer: str | None, classes: Classes | None) -> list[int | str] | None:
    """The classes for Grad-CAM as indices, differences as text with two of them.

    What was misspelt is told before any work.
    """
    found = trace(model)
    if layer is not None:
        found.find_node(layer)
    if classes is None:
        return None
    wanted = [classes] if isinstance(classes, (str, int)) else list(classes)
    if len(wanted) > budget.CLASSES:
        raise ConvlensError(
            f"{len(wanted)} classes on one page; give at most {budget.CLASSES}, or use gradcam"
        )
    pairs = [find_class_pair(model.labels, one, found.num_outputs) for one in wanted]
    return [one if other is None else f"{one} - {other}" for one, other in pairs] or None


def _subject(model: Model) -> Subject:
    found = trace(model)
    return Subject(
        name=model.name,
        spec=model.spec,
        origin=model.origin,
        preprocessing=model.preprocessing.summary(),
        size=model.size,
        channels=model.channels,
        mean=model.mean,
        center=model.center,
        std=model.std,
        bounds=model.bounds,
        device=str(model.device),
        output=found.shape(found.logits)[1:],
        final_activation=found.final_activation,
        output_head=found.output_head,
        prediction_rule=describe_prediction_rule(
            found.final_activation, found.num_outputs, class_name(model.labels, 0)
        ),
    )


def _left_out(
    given: int,
    read: int,
    rows: Sequence[PhotoReport],
    diagnosis: Diagnosis | None,
    first: Filters | None,
) -> tuple[str, ...]:
    """What the budget left out, in sentences."""
    shown = sum(one.shown for one in rows)
    could = sum(bool(one.expected) for one in rows) or len(rows)
    sentences = []
    if read < given:
        sentences.append(
            f"{given - read} of {given} photos were not read; the others lie evenly "
            "spread among them"
        )
    if shown < len(rows):
        sentences.append(f"{shown} of {len(rows)} photos are shown in full, evenly spread")
    if diagnosis is not None and diagnosis.photos < could:
        sentences.append(f"the doctor examined {diagnosis.photos} of {could} photos")
    if first is not None and len(first.weights) > budget.FILTERS.items:
        sentences.append(
            f"{budget.FILTERS.items} of {len(first.weights)} filters are shown, evenly spread"
        )
    return tuple(sentences)


def _versions() -> dict[str, str]:
    found = {"convlens": __version__}
    for name in ("torch", "torchvision", "timm"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed as a package"
    return found
