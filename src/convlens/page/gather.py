"""Gathers what the views say about a network and photos, and writes the page.

Every number comes from a view. Photos are looked at one by one, so that memory stays small and
each photo's numbers are those that its own command gives.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

from convlens.errors import ConvlensError, PhotoError
from convlens.files import whole_folder
from convlens.labels import class_index, class_name, labels_of
from convlens.loading import demo_photos
from convlens.model import Model
from convlens.page import budget
from convlens.page.budget import spread
from convlens.page.findings import findings
from convlens.page.parts import Cells, LeftOut, PhotoReport, Report, Subject, Turn
from convlens.page.render import render
from convlens.photos import read_photo
from convlens.sweep.patches import patches
from convlens.tracing import Trace, trace
from convlens.views.anatomy import anatomy
from convlens.views.answers import answers
from convlens.views.doctor import Diagnosis, doctor
from convlens.views.evidence import evidence
from convlens.views.excitation import watched
from convlens.views.fgsm import Fgsm, fgsm
from convlens.views.filters import Filters, filters
from convlens.views.flips import Flips, flips
from convlens.views.gradcam import gradcam
from convlens.views.likeness import likeness
from convlens.views.patches import Patches
from convlens.views.tuning import tuning

Progress = Callable[[str, int, int], None]
Classes = str | int | Sequence[str | int]
Item = TypeVar("Item")

_MARKER = "report.json"
_PASSES = 24  # forward passes of the doctor for each photo, about


def report(
    model: Model,
    photos: Sequence[str | Path] | None = None,
    *,
    out: str | Path,
    labels: Mapping[str, Sequence[int]] | None = None,
    layer: str | None = None,
    classes: Classes | None = None,
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
        labels: indices of the right classes by file name, as `read_labels` gives them.
        layer: for Grad-CAM; default: the final convolutional place.
        classes: for Grad-CAM; default: the two highest of each photo.
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
    desk = _Desk(progress)
    with whole_folder(out, marker=_MARKER) as folder:
        chosen = _check(model, layer, classes)
        read, skipped = _read(model, spread(paths, budget.ANSWERS.items), table, strict, desk)
        diagnosis = _diagnose(model, read, desk)
        looked = {}
        for one in desk.each("photos", spread(read, budget.PHOTOS.items)):
            looked[one.path] = _look(model, one, layer, chosen, seed, desk)
        rows = tuple(looked.get(one.path, one) for one in read)
        structure, first, excited = None, None, None
        with desk.section("channels"):
            excited = _excite(model, read, seed, desk)
        cells: tuple[Cells, ...] = ()
        with desk.section("cells"):
            cells = _cells(model, excited) if excited else ()
        with desk.section("anatomy"):
            structure = anatomy(model)
        alike = None
        with desk.section("filters"):
            first = filters(model)
            alike = likeness(model, null=budget.NOISE, seed=seed)
        made = Report(
            folder=str(out),
            model=_subject(model),
            findings=(),
            photos=rows,
            skipped=tuple(skipped),
            given=len(paths),
            scale=max((one.gradcam.scale for one in rows if one.gradcam), default=None),
            diagnosis=diagnosis,
            anatomy=structure,
            filters=first,
            likeness=alike,
            r2=tuple(alike.r2.tolist()) if alike else (),
            patches=excited,
            cells=cells,
            norms=tuple(first.norms.tolist()) if first else (),
            silent=first.silent if first else (),
            failures=desk.failures,
            left_out=_left_out(len(paths), len(read) + len(skipped), rows, diagnosis, first),
            options={
                "layer": layer,
                "classes": ", ".join(map(str, chosen)) if chosen is not None else None,
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


@dataclass
class _Desk:
    """Times each stage, tells how far it is, and keeps why a section could not be made."""

    progress: Progress | None
    seconds: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Time the block; what the network cannot do becomes a sentence."""
        began = time.perf_counter()
        try:
            yield
        except PhotoError:
            raise
        except ConvlensError as error:
            self.failures.setdefault(name, str(error))
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

    def each(self, stage: str, items: Sequence[Item]) -> Iterator[Item]:
        """The items, until the stage's seconds are spent."""
        most = {"answers": budget.ANSWERS, "photos": budget.PHOTOS}[stage].seconds
        began = time.perf_counter()
        for done, item in enumerate(items):
            if time.perf_counter() - began > most:
                return
            yield item
            self.tell(stage, done + 1, len(items))

    def tell(self, stage: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(stage, done, total)


def _given(
    model: Model, photos: Sequence[str | Path] | None, labels: Mapping[str, Sequence[int]] | None
) -> tuple[list[Path], dict[str, tuple[int, ...]]]:
    """The photos, and the right classes by file name."""
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


def _check(model: Model, layer: str | None, classes: Classes | None) -> list[int] | None:
    """The classes for Grad-CAM as indices; what was misspelt is told before any work."""
    found = trace(model)
    if layer is not None:
        found.find(layer)
    if classes is None:
        return None
    wanted = [classes] if isinstance(classes, (str, int)) else list(classes)
    if len(wanted) > budget.CLASSES:
        raise ConvlensError(
            f"{len(wanted)} classes on one page; give at most {budget.CLASSES}, or use gradcam"
        )
    return [class_index(model.labels, one, found.shape(found.logits)[-1]) for one in wanted] or None


def _read(
    model: Model,
    paths: Sequence[Path],
    table: Mapping[str, tuple[int, ...]],
    strict: bool,
    desk: _Desk,
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


def _diagnose(model: Model, read: Sequence[PhotoReport], desk: _Desk) -> Diagnosis | None:
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


def _excite(model: Model, read: Sequence[PhotoReport], seed: int, desk: _Desk) -> Patches | None:
    """What excites channels of a few layers, from the first convolution to the last.

    Layers in which every unit sees the whole image come last in the choice: nothing can be cut
    out of the photo there.
    """
    each = desk.seconds.get("answers", 0.0) / len(read)
    affordable = max(1, int(budget.CHANNELS.seconds / max(2 * each, 1e-9)))
    found = trace(model)
    places = watched(found, None)
    local = [place for place in places if _sees_a_part(found, place.value)]
    chosen = spread([place for place in local if place.post] or local or places, len(places))
    # The last of each of so many stretches of the network: what is furthest along.
    count = min(budget.CHANNELS.items, len(chosen))
    layers = [chosen[(number + 1) * len(chosen) // count - 1].layer for number in range(count)]
    return patches(
        model,
        [one.path for one in spread(read, affordable)],
        layers=layers,
        show=budget.CHANNELS_EACH,
        seed=seed,
        progress=lambda stage, done, total: desk.tell(f"channels, {stage}", done, total),
    )


def _cells(model: Model, excited: Patches) -> tuple[Cells, ...]:
    """Simple and complex channels of the layers shown, where their units see few pixels.

    Gratings are then small images, and the network is run no further than the layer.
    """
    found = trace(model)
    cells = []
    for place in watched(found, [one.layer for one in excited.layers]):
        field = found.field(place.value)
        if field is None or field.beyond or not place.rectified:
            continue
        widest = max(int((field.high[axis] - field.low[axis]).max()) + 1 for axis in (0, 1))
        if widest > budget.GRATING_FIELD:
            continue
        told = tuning(model, layer=place.layer, orientations=8, phases=8)
        cells.append(Cells(place.layer, *told.counts()))
    return tuple(cells)


def _sees_a_part(found: Trace, value: int) -> bool:
    """Whether a middle unit sees less than the whole image."""
    field = found.field(value)
    if field is None or field.beyond:
        return False
    extents = (
        int((field.high[axis] - field.low[axis]).max()) + 1 < found.image_size[axis]
        for axis in (0, 1)
    )
    return any(extents)


def _look(
    model: Model,
    row: PhotoReport,
    layer: str | None,
    classes: list[int] | None,
    seed: int,
    desk: _Desk,
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


def _subject(model: Model) -> Subject:
    return Subject(
        name=model.name,
        spec=model.spec,
        origin=model.origin,
        geometry=model.geometry.sentence(),
        size=model.size,
        channels=model.channels,
        mean=model.mean,
        center=model.center,
        std=model.std,
        bounds=model.bounds,
        device=str(model.device),
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
    found = {}
    for name in ("convlens", "torch", "torchvision", "timm"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed as a package"
    return found
