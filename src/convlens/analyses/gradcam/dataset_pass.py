"""`gradcams`: Grad-CAM of a data set, with the checks of its maps and a table of all.

    OUT/PHOTO/                       the maps of a photo, as `GradCam.save` writes them
    OUT/PHOTO/deletion-insertion-1/  deletion and insertion curves of its first class
    OUT/randomization/               the randomization check
    OUT/scores.csv                   a row for each photo, class and layer
    OUT/numbers.json                 the numbers of all photos

Apart from the photos' names, memory does not grow with their number. First the raw maps of each
photo are written. When all are there, pictures are drawn on the scale that they share.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from convlens.analyses.gradcam.batch_work import DrawingWork, MapSettings, MapWork
from convlens.analyses.gradcam.boxes import ObjectBox
from convlens.analyses.gradcam.dataset_result import GradCams
from convlens.analyses.gradcam.options import GradCamKeywords, GradCamOptions, spell_out_options
from convlens.analyses.gradcam.overview import finish_folder
from convlens.analyses.gradcam.pointing_game import PointingTotals
from convlens.analyses.gradcam.randomization import check_counts, randomization
from convlens.analyses.gradcam.randomization_result import Randomization
from convlens.analyses.gradcam.table import SCORES, write_tables
from convlens.analyses.predictions.predictions import check_one_vector
from convlens.claims import PREFIX
from convlens.data.datasets.photo_dataset import PhotoDataset, find_dataset_keys
from convlens.data.datasets.pictures import as_photos
from convlens.data.photo_names import unique_folder_names
from convlens.data.photos import PhotoLike
from convlens.errors import ConvlensError
from convlens.files import NUMBERS, atomic_folder, claim_folder, replace_folder
from convlens.models.labels import class_name
from convlens.models.model import Model, check_model
from convlens.models.output_head import describe_prediction_rule
from convlens.passes.engines import open_engine
from convlens.passes.options import PassOptions
from convlens.passes.run import default_batch_size, run_pass
from convlens.passes.saved_state import MANIFEST, claim_saved_state
from convlens.passes.source import NumberSource, PhotoSource
from convlens.results.index import CONTACT_SHEET, INDEX
from convlens.results.network_result import keep_warnings, warnings_so_far
from convlens.results.numbers import numbers_header
from convlens.runtime.fingerprints import fingerprint

_BATCH_SIZE = 16  # fixed, since a convolution's last bits may depend on it
_RANDOMIZATION = "randomization"


@keep_warnings
@spell_out_options
def gradcams(
    model: Model,
    photos: PhotoLike | Sequence[PhotoLike] | PhotoDataset,
    *,
    out: str | Path,
    layers: Sequence[str] | None = None,
    strip: bool = False,
    deletion_insertion: bool = False,
    boxes: Mapping[str, tuple[ObjectBox, ...]] | None = None,
    randomize: int = 0,
    stages: int = 10,
    draws: int = 3,
    cells: bool = False,
    seed: int = 0,
    strict: bool = False,
    command: str | None = None,
    pass_options: PassOptions = PassOptions(),
    **options: Unpack[GradCamKeywords],
) -> GradCams:
    """Compute Grad-CAM maps of many photos and write them to a folder, with a table of all.

    Memory does not grow with the number of photos. With a resume folder, a run that was killed
    continues, and its output is that of a run without interruption.

    Args:
        model: the model. It is left untouched.
        photos: files, in this order, or a data set of photos.
        out: the folder to write. It is written completely or not at all; an earlier folder of this
            kind is replaced.
        layers: several layers or nodes, drawn as a strip from coarse to fine. Default: the one
            layer of the options.
        strip: without `layers`, one layer of each resolution, as `gradcam_layers` chooses them;
            default: False.
        deletion_insertion: compute deletion and insertion curves of every map, with 44 forward
            passes each; default: False.
        boxes: the boxes of all photos, from `read_boxes`. They are drawn on the pictures, and the
            pointing game is played. Where no target is given, the classes of a photo's boxes are
            explained. Default: none.
        randomize: number of photos for the randomization check; default 0 for none.
        stages: greatest number of stages of the randomization check; default 10.
        draws: how often it draws all parameters; default 3.
        cells: draw cells with hard edges instead of values between them; default: False.
        seed: seed of the curves' random orders and of the random parameters; default 0.
        strict: raise an error for a photo that cannot be read; default: leave it out.
        command: the command line that does this, which `index.html` and `numbers.json` state.
            Default: none.
        pass_options: how the pass runs; see `PassOptions`. The stages are `Grad-CAM`, `pictures`,
            `table` and `randomization`. A resume folder cannot be given with a target function.
            Default batch size: 16.
        **options: the fields of `GradCamOptions`: classes or another target, and the layer.

    Returns:
        The folder's content; the maps are loaded when they are asked for.

    Raises:
        ConvlensError: as `gradcam`; no photo can be read, the resume folder belongs to another
            run, or `out` cannot be written.

    References:
        See `gradcam`.

    Example:
        >>> import tempfile, pathlib, torch, convlens
        >>> from PIL import Image
        >>> network = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        ...     torch.nn.Flatten(), torch.nn.Linear(4, 2),
        ... )
        >>> model = convlens.wrap(network, size=8, labels=("cat", "dog"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "pet.png"
        ...     Image.new("RGB", (16, 16)).save(path)
        ...     result = convlens.gradcams(model, [path], out=f"{folder}/cams", classes="dog")
        ...     result.photos, result["pet.png"].names
        (('pet.png',), (('dog',),))
    """
    check_model(model)
    settings = MapSettings(
        options=GradCamOptions(**options),
        layers=layers,
        strip=strip,
        deletion_insertion=deletion_insertion,
        boxes=boxes or {},
        seed=seed,
    )
    source = PhotoSource(model, as_photos(photos), strict=strict)
    dataset = source.dataset
    find_dataset_keys(dataset, settings.boxes)  # fail early if a key stands for two photos
    work = MapWork(model, dataset, _folder_names(dataset), settings)
    _check_combination(model, work, randomize, pass_options)
    check_counts(stages, draws)
    batch_size = pass_options.batch_size or default_batch_size(source, _BATCH_SIZE)
    with (
        open_engine(pass_options.engine),
        _output_folder(Path(out), pass_options.resume_folder) as (folder, state_folder),
    ):
        work.folder = folder.absolute()
        # The trace of a network that decides by its data holds for one image.
        finished = run_pass(
            model, work, source, stage="Grad-CAM", settings=_fingerprint(work),
            pass_options=replace(
                pass_options, batch_size=batch_size if work.model_trace.recording.faked else 1,
                resume_folder=state_folder,
            ),
        )  # fmt: skip
        scales = tuple(finished.state["scales"].tolist())
        readable = [number for number in range(len(source)) if number not in finished.skipped]
        skipped = {source.name(number): reason for number, reason in finished.skipped.items()}
        run_pass(
            model, DrawingWork(work, scales, cells), NumberSource(source, readable),
            stage="pictures",
            pass_options=replace(pass_options, batch_size=batch_size, resume_folder=None),
        )  # fmt: skip
        totals = write_tables(
            folder, [(work.names[number], number) for number in readable],
            boxes=work.boxes if boxes else None, has_curves=deletion_insertion,
            header=numbers_header(GradCams, command),
            progress=lambda done, total: pass_options.progress("table", done, total),
        )  # fmt: skip
        check = None
        if randomize > 0:
            check = _randomize(work, readable[:randomize], stages, draws, pass_options)
            check.save(folder / _RANDOMIZATION)
        result = _make_result(
            work, out, readable, skipped, scales, totals if boxes is not None else None, check
        )
        finish_folder(folder, result, command=command)
    return result


def _make_result(
    work: MapWork,
    out: str | Path,
    readable: Sequence[int],
    skipped: dict[str, str],
    scales: tuple[float, ...],
    pointing: PointingTotals | None,
    randomization: Randomization | None,
) -> GradCams:
    """The result of the photos that can be read, by their numbers."""
    return GradCams(
        folder=str(out),
        photos=tuple(work.names[number] for number in readable),
        skipped=skipped,
        layers=tuple(group.name for group in work.node_groups),
        reasons=tuple(group.reason for group in work.node_groups),
        scales=scales,
        pointing=pointing,
        randomization=randomization,
        prediction_rule=_prediction_rule(work),
        warnings=warnings_so_far(),
    )


def _check_combination(
    model: Model, work: MapWork, randomize: int, pass_options: PassOptions
) -> None:
    """Raise ConvlensError, before any work, for options that exclude each other."""
    settings, options = work.settings, work.settings.options
    choices = (options.layer is not None, settings.layers is not None, settings.strip)
    if sum(choices) > 1:
        raise ConvlensError(
            "a layer, several layers and a strip of all resolutions exclude each other; give one"
        )
    for requested, name in (
        (settings.deletion_insertion, "deletion and insertion"), (randomize > 0, "randomization"),
    ):  # fmt: skip
        if requested and (options.target is not None or options.pixel is not None):
            raise ConvlensError(
                f"{name} needs classes, but a target or a pixel is given; give classes instead"
            )
        if requested:
            check_one_vector(model, work.model_trace, name)
    if options.target is not None and pass_options.resume_folder is not None:
        raise ConvlensError(
            "a target is a function, and a later run cannot tell whether it is the same; leave "
            "the resume folder out"
        )


def _fingerprint(work: MapWork) -> dict[str, Any]:
    """The settings on which the maps depend, as plain values; model and photos are left out."""
    settings, options = work.settings, work.settings.options
    return {
        "classes": options.classes,
        "top": options.top,
        "pixel": options.pixel,
        "side": options.side,
        "layers": [work.model_trace.name(group.nodes[0]) for group in work.node_groups],
        "deletion_insertion": settings.deletion_insertion,
        "boxes": fingerprint(settings.boxes),
        "seed": settings.seed,
    }


def _randomize(
    work: MapWork, numbers: Sequence[int], stages: int, draws: int, pass_options: PassOptions
) -> Randomization:
    """The randomization check on some of the photos, at the coarsest layer."""
    settings, options = work.settings, work.settings.options
    if settings.layers is not None:
        options = replace(options, layer=work.node_groups[0].name)
    return randomization(
        work.model, work.model.prepare([work.dataset[number] for number in numbers]),
        stages=stages, draws=draws, seed=settings.seed,
        progress=lambda done, total: pass_options.progress(_RANDOMIZATION, done, total),
        **options.keywords(),
    )  # fmt: skip


def _prediction_rule(work: MapWork) -> str:
    if work.settings.options.target is not None:
        return ""
    model_trace = work.model_trace
    return describe_prediction_rule(
        model_trace.final_activation, model_trace.num_outputs, class_name(work.model.labels, 0)
    )


def _folder_names(dataset: PhotoDataset) -> tuple[str, ...]:
    """A folder name for each photo: its file's name, made unique where two are equal."""
    names = [dataset.name(number) for number in range(len(dataset))]
    return tuple(
        unique_folder_names(names, taken=(NUMBERS, SCORES, INDEX, CONTACT_SHEET, _RANDOMIZATION))
    )


@contextmanager
def _output_folder(out: Path, resume_folder: Path | None) -> Iterator[tuple[Path, Path | None]]:
    """The folder into which the photos are written, and the one that survives a kill.

    When everything is written, the first folder becomes `out`.
    """
    if resume_folder is None:
        with atomic_folder(out, marker=NUMBERS) as temporary:
            yield temporary, None
        return
    photos = resume_folder / "photos"
    with claim_folder(out, marker=NUMBERS), claim_saved_state(resume_folder):
        if not (resume_folder / MANIFEST).is_file():  # nobody knows whose maps these are
            shutil.rmtree(photos, ignore_errors=True)
        elif not photos.is_dir():  # they are in `out`; only the removal of the state is missing
            (resume_folder / MANIFEST).unlink()
        try:
            photos.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConvlensError(
                f"cannot write {resume_folder} ({error.strerror or error})"
            ) from error
        for half_written in photos.glob(f"{PREFIX}*"):
            shutil.rmtree(half_written, ignore_errors=True)
        try:
            yield photos, resume_folder
        except BaseException:
            if not (resume_folder / MANIFEST).is_file():  # nothing to continue from
                shutil.rmtree(resume_folder, ignore_errors=True)
            raise
        replace_folder(photos, out, marker=NUMBERS)
        # Last, because the state is all there is until `out` is complete.
        (resume_folder / MANIFEST).unlink(missing_ok=True)
