"""Makes the report: reads the photos, runs the sections, and writes the page and its numbers.

Every number comes from an analysis. Photos are explained and attacked one by one, so that memory
stays small and each photo's numbers are those that its own command gives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from convlens import __version__
from convlens.analyses.anatomy.anatomy import anatomy
from convlens.analyses.anatomy.result import Anatomy
from convlens.analyses.gradcam.boxes import read_boxes
from convlens.cache.folder import disk_cache
from convlens.capture.folded_networks import keep_folded_networks
from convlens.data.photo_names import describe_unmatched, find_keys
from convlens.data.prepared_photos import PREPARED_PHOTOS
from convlens.data.sampling import spread
from convlens.errors import ConvlensError
from convlens.files import REPORT, atomic_folder
from convlens.models.label_tables import write_labels
from convlens.models.labels import class_name, find_class_pair
from convlens.models.loading.default_photos import check_default_photos, resolve_photos
from convlens.models.model import Model, check_model
from convlens.models.output_head import describe_prediction_rule
from convlens.page import budget
from convlens.page.findings import collect_findings, collect_tiles
from convlens.page.first_screen import view_first_screen
from convlens.page.inputs import Inputs, Options
from convlens.page.photos import read_photos, show_photos
from convlens.page.progress import Progress, Stages
from convlens.page.render import render, view_sections
from convlens.page.reproduction import LABELS, Reproducer
from convlens.page.result import Report, SkippedPhoto, Subject
from convlens.page.section import Section
from convlens.page.sections import load_sections
from convlens.results.network_result import collect_warnings
from convlens.results.numbers import numbers_of
from convlens.runtime.garbage import collect_new_objects
from convlens.text import json_text, printable
from convlens.tracing.caching.known_code import keep_descriptions
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace
from convlens.wording import counted

Classes = str | int | Sequence[str | int]


@disk_cache()
@keep_folded_networks()
@keep_descriptions()
@PREPARED_PHOTOS.keep()
@collect_new_objects()
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

    The same input gives the same page: how much each section computes depends on the multiply-adds
    of the network and not on the clock.

    Args:
        model: the model, left untouched.
        photos: files. Default: the demonstration photos for the embedded network; validation
            images of a training for the network of a run folder.
        out: folder for `index.html`, `report.json` and, with labels, `labels.csv`, which the
            commands on the page read; an earlier report there is replaced.
        labels: indices of the right classes by the photo's path or the end of it, such as its
            file's name, as `read_labels` gives them. Default: no labels for photos that are
            given, and the right classes of the default photos.
        layer: layer that Grad-CAM explains. Default: the final convolutional layer.
        classes: classes that Grad-CAM explains. Default: those of the photo's boxes, else the two
            with the highest logits.
        boxes: a CSV file of objects on the photos, as `read_boxes` takes it. Default: none.
        seed: seed of everything that is random. Default: 0.
        strict: stop at a photo that cannot be read, instead of skipping it. Default: skip it.
        command: the command line that makes this page, to be shown on it. Default: none.
        progress: called with (stage, items done, number of items). Default: not called.

    Returns:
        The report, with the result of each section.

    Raises:
        ConvlensError: no photos, an unknown layer or class, a network that does not run on its own
            size, or a folder that cannot be written or holds something else.
        PhotoError: no photo can be read; with `strict`, a photo cannot be read.

    Example:
        >>> import tempfile, torch, convlens
        >>> from PIL import Image
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 4, 2))
        >>> model = convlens.wrap(network, size=4)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (4, 4)).save(f"{folder}/black.png")
        ...     report = convlens.report(model, [f"{folder}/black.png"], out=f"{folder}/page")
        >>> report.page.name, report.sections["network"].parameters
        ('index.html', 98)
    """
    paths, table = _resolve_photos(model, photos, labels)
    stages = Stages(progress)
    with atomic_folder(out, marker=REPORT) as folder, collect_warnings() as warnings:
        options = _check_options(model, layer, classes, boxes, paths, table, seed, strict)
        labels_path = Path(out) / LABELS if table and _are_printable(paths) else None
        inputs, skipped = _gather(model, paths, table, options, stages, labels_path)
        sections = _compute_sections(inputs, stages)
        findings = collect_findings(sections, inputs, skipped, len(paths), warnings)
        tiles = collect_tiles(sections, inputs)
        with stages.timed("pictures"):
            views = view_sections(sections, inputs)
            first_screen = view_first_screen(sections, inputs, findings, tiles)
        left_out = [sentence for view in views.values() for sentence in view.left_out]
        if first_screen.missing:
            left_out.append(f"{first_screen.missing} pictures do not fit on the first screen")
        left_out += _unmatched_entries(paths, table, options)
        finished = Report(
            folder=str(out),
            model=inputs.subject,
            findings=findings,
            tiles=tiles,
            warnings=tuple(warnings),
            photos=inputs.photos,
            skipped=tuple(skipped),
            num_photos=len(paths),
            sections=inputs.results,
            failures=stages.failures,
            reproductions={
                section.name: section.reproduction(inputs, inputs.results[section.name])
                for section in sections
                if section.name in inputs.results
            },
            left_out=(*_left_out_photos(len(paths), inputs, skipped), *left_out),
            options=_describe_options(options),
            command=command,
            versions=_versions(),
            threads=torch.get_num_threads(),
            created=datetime.now().astimezone().isoformat(timespec="minutes"),
            seconds=dict(stages.seconds),
        )
        with stages.timed("page"):
            page = render(sections, inputs, finished, views, first_screen)
        finished = replace(finished, seconds=stages.seconds)
        (folder / "index.html").write_text(page, encoding="utf-8")
        if labels_path is not None:
            _write_labels(folder / LABELS, inputs)
        text = json_text(numbers_of(finished, command=command))
        (folder / REPORT).write_text(text, encoding="utf-8")
    return finished


def _compute_sections(inputs: Inputs, stages: Stages) -> list[Section]:
    """Compute all sections, and return those that have something to show.

    A section without a result and without a reason for that is left out.
    """
    sections = load_sections()
    for section in sections:
        with stages.attempt(section.name):
            result = section.compute(inputs)
            if result is not None:
                inputs.results[section.name] = result
    known = {*inputs.results, *stages.failures}
    return [section for section in sections if section.name in known]


def _resolve_photos(
    model: Model, photos: Sequence[str | Path] | None, labels: Mapping[str, Sequence[int]] | None
) -> tuple[list[Path], dict[str, tuple[int, ...]]]:
    """The paths of the photos, and the right classes by the end of a path."""
    check_model(model)
    if photos is None:
        check_default_photos(model.spec, model.name)
    paths, table = resolve_photos(model, photos, labels)
    if not paths:
        raise ConvlensError("no photos; give at least one")
    return paths, table


def _check_options(
    model: Model,
    layer: str | None,
    classes: Classes | None,
    boxes: str | Path | None,
    paths: Sequence[Path],
    labels: Mapping[str, tuple[int, ...]],
    seed: int,
    strict: bool,
) -> Options:
    """The options, checked before any work is done."""
    model_trace = trace(model)
    if layer is not None:
        model_trace.find_node(layer)
    table = read_boxes(boxes, model) if boxes is not None else None
    find_keys(paths, labels)  # each names one photo
    find_keys(paths, table or {})
    return Options(
        layer=layer,
        classes=_class_indices(model, model_trace, classes),
        boxes=table,
        boxes_path=str(boxes) if boxes is not None else None,
        seed=seed,
        strict=strict,
    )


def _class_indices(
    model: Model, model_trace: Trace, classes: Classes | None
) -> list[int | str] | None:
    """The classes as indices, a difference of two classes as text with two indices."""
    if classes is None:
        return None
    names = [classes] if isinstance(classes, (str, int)) else list(classes)
    if len(names) > budget.CLASSES:
        raise ConvlensError(
            f"{len(names)} classes on one page; give at most {budget.CLASSES}, or use gradcam"
        )
    pairs = [find_class_pair(model.labels, name, model_trace.num_outputs) for name in names]
    return [first if second is None else f"{first} - {second}" for first, second in pairs] or None


def _gather(
    model: Model,
    paths: Sequence[Path],
    labels: Mapping[str, tuple[int, ...]],
    options: Options,
    stages: Stages,
    labels_path: Path | None,
) -> tuple[Inputs, list[SkippedPhoto]]:
    """The inputs of the sections, and the photos that could not be read."""
    model_trace, layers = trace(model), anatomy(model)
    passes = float(layers.multiply_adds)
    paths_to_read = spread(paths, budget.READ.affordable(passes))
    read, skipped = read_photos(model, paths_to_read, labels, strict=options.strict, stages=stages)
    most = budget.SHOWN.affordable(budget.SHOWN_PASSES * passes)
    photos, images = show_photos(model, read, spread(range(len(read)), most), stages)
    inputs = Inputs(
        model=model,
        subject=_subject(model, model_trace, layers),
        options=options,
        trace=model_trace,
        anatomy=layers,
        photos=tuple(photos),
        images=images,
        stages=stages,
        reproducer=Reproducer(
            model,
            options.seed,
            model_trace.num_outputs,
            str(labels_path) if labels_path is not None else None,
        ),
    )
    return inputs, skipped


def _subject(model: Model, model_trace: Trace, layers: Anatomy) -> Subject:
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
        output=model_trace.shape(model_trace.logits)[1:],
        final_activation=model_trace.final_activation,
        output_head=model_trace.output_head,
        prediction_rule=describe_prediction_rule(
            model_trace.final_activation, model_trace.num_outputs, class_name(model.labels, 0)
        ),
        parameters=layers.parameters,
        multiply_adds=layers.multiply_adds,
    )


def _unmatched_entries(
    paths: Sequence[Path], labels: Mapping[str, tuple[int, ...]], options: Options
) -> list[str]:
    """Sentences about labels and boxes that fit none of the photos."""
    sentences = []
    for name, entries in (("Labels", labels), ("Boxes", options.boxes or {})):
        if words := describe_unmatched(entries, find_keys(paths, entries)):
            sentences.append(f"{name}: {words}")
    return sentences


def _left_out_photos(num_photos: int, inputs: Inputs, skipped: Sequence[SkippedPhoto]) -> list[str]:
    """What the budgets of the page left out of the photos, in sentences."""
    read = len(inputs.photos) + len(skipped)
    sentences = []
    if read < num_photos:
        sentences.append(
            f"not read: {num_photos - read:,} of {counted(num_photos, 'photo')}; the others are "
            f"evenly spread among them"
        )
    if len(inputs.images) < len(inputs.photos):
        sentences.append(
            f"shown in full: {len(inputs.images)} of {counted(len(inputs.photos), 'photo')}, "
            f"evenly spread"
        )
    return sentences


def _describe_options(options: Options) -> dict[str, str | int | bool | None]:
    classes = options.classes
    return {
        "layer": options.layer,
        "classes": ", ".join(map(str, classes)) if classes is not None else None,
        "boxes": options.boxes_path,
        "seed": options.seed,
        "strict": options.strict,
    }


def _are_printable(paths: Sequence[Path]) -> bool:
    """Whether a table can hold the names of photos, which is read in any program."""
    return all(printable(path) == str(path) for path in paths)


def _write_labels(path: Path, inputs: Inputs) -> None:
    """Write the labels of the photos, for the commands on the page."""
    rows = []
    for photo in inputs.photos:
        if photo.expected:
            # A name that starts with a dot would be relative to the folder of the table.
            hidden = photo.name.startswith(".")
            name = str(Path(photo.path).absolute()) if hidden else photo.name
            rows.append((name, photo.expected))
    write_labels(path, rows, inputs.model.labels, inputs.trace.num_outputs)


def _versions() -> dict[str, str]:
    versions = {"convlens": __version__}
    for name in ("torch", "torchvision", "timm"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed as a package"
    return versions
