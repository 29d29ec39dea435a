"""`gradcams`: Grad-CAM of a folder of photos, batch by batch, with its evidence and a table.

    OUT/PHOTO/          the maps of a photo, as `GradCam.save` writes them
    OUT/PHOTO/evidence-1/   deletion and insertion for its first class
    OUT/randomization/  the sanity check
    OUT/scores.csv      a line for each photo, class and layer
    OUT/numbers.json    the numbers of all photos

What is kept in memory does not grow with the photos but for their names. First each photo's raw
maps are written; when all are there, pictures are drawn on the scale that is common to them.
"""

import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convlens.analyses.gradcam.boxes import Box, boxes_on_image
from convlens.analyses.gradcam.deletion_insertion import deletion_insertion
from convlens.analyses.gradcam.gradcam import (
    ClassSelection,
    TargetFunction,
    explain,
    select_node_group,
    select_strip,
)
from convlens.analyses.gradcam.pointing_game import told
from convlens.analyses.gradcam.randomization import Randomization, randomization
from convlens.analyses.gradcam.result import GradCam, GradCamLayers
from convlens.analyses.gradcam.scores import NUMBERS, SCORES, curves_at, finish
from convlens.analyses.predictions.predictions import check_one_vector
from convlens.capture import recording
from convlens.data.datasets.photo_dataset import PhotoDataset, check_photo_list, find_dataset_keys
from convlens.data.photo_names import unique_folder_names
from convlens.errors import ConvlensError
from convlens.files import atomic_folder, check_replaceable_folder
from convlens.models.labels import class_name
from convlens.models.model import Model, check_model
from convlens.models.output_head import describe_prediction_rule
from convlens.passes.engines import open_engine
from convlens.passes.fingerprints import fingerprint
from convlens.passes.options import PassOptions
from convlens.passes.reducer import State
from convlens.passes.run import run_pass
from convlens.passes.saved_state import MANIFEST
from convlens.passes.source import NumberSource, PhotoSource
from convlens.results import Result
from convlens.tracing.selection import NodeGroup, Side
from convlens.tracing.trace import Trace, trace

_SANITY = "randomization"
_BATCH = 16  # images; fixed, since a convolution's last bits may depend on it

__all__ = ["NUMBERS", "GradCamWork", "GradCams", "gradcams"]


@dataclass(frozen=True, eq=False)
class GradCams(Result):
    """Grad-CAMs that lie in a folder, and what all of them have in common.

    Attributes:
        folder: where they lie.
        photos: names of the photos' folders in it, in the order given.
        skipped: reason by path of the photos that could not be read.
        layers: names of the values whose channels were weighted, for each layer of a strip.
        reasons: why these layers.
        scales: for each layer the greatest absolute value of all maps, the scale of all pictures.
        pointing: over all maps with a box: how many, hits, hits of the middle of the image, sums
            of energy and of the boxes' share of the image, as `PointingGame.sums`; empty without
            boxes.
        randomization: the sanity check, or None.
        prediction_rule: how answers are read, in words, where that is not by a softmax.
    """

    folder: str
    photos: tuple[str, ...]
    skipped: dict[str, str]
    layers: tuple[str, ...]
    reasons: tuple[str, ...]
    scales: tuple[float, ...]
    pointing: tuple[float, ...]
    randomization: Randomization | None
    prediction_rule: str = ""

    def __getitem__(self, photo: str) -> GradCam | GradCamLayers:
        """The maps of a photo, read from the folder."""
        found = Result.load(Path(self.folder) / photo)
        assert isinstance(found, (GradCam, GradCamLayers))
        return found

    @property
    def scores(self) -> Path:
        """The table of all maps."""
        return Path(self.folder) / SCORES

    @property
    def numbers(self) -> Path:
        """The numbers of all photos as JSON."""
        return Path(self.folder) / NUMBERS

    def sentences(self) -> tuple[str, ...]:
        """What the maps have in common, in words."""
        words = [
            f"layer {layer}: {reason}; all its pictures share the scale ±{scale:.3g} logit"
            for layer, reason, scale in zip(self.layers, self.reasons, self.scales, strict=True)
        ]
        if self.prediction_rule:
            words.append(self.prediction_rule)
        if self.pointing:
            count, hits, center, energy, area = self.pointing
            words.append(told(int(count), int(hits), int(center), energy, area))
        if self.randomization is not None:
            words.append(self.randomization.sentence())
        return tuple(words)


def gradcams(
    model: Model,
    photos: Sequence[str | Path] | PhotoDataset,
    *,
    out: str | Path,
    classes: ClassSelection | None = None,
    top: int = 1,
    pixel: tuple[int, int] | None = None,
    target: TargetFunction | None = None,
    layers: str | Sequence[str] | None = None,
    side: Side = "pre",
    strip: bool = False,
    curves: bool = False,
    boxes: Mapping[str, tuple[Box, ...]] | None = None,
    randomize: int = 0,
    cells: bool = False,
    seed: int = 0,
    strict: bool = False,
    pass_options: PassOptions = PassOptions(),
) -> GradCams:
    """Grad-CAM of many photos, each written to a folder of its own, with a table of all.

    Memory does not grow with the photos. With a resume folder, a run that was killed goes on and
    ends as one that was not.

    Args:
        model: left untouched.
        photos: files, in this order, or a data set of them.
        out: the folder to be written, whole or not at all; an earlier one of this kind is replaced.
        classes: names or indices, as for `gradcam`. Default: the classes of the photo's boxes
            where it has any, else the `top` highest.
        top: as for `gradcam`.
        pixel: likewise.
        target: likewise.
        layers: name of a layer, or several for a strip from coarse to fine. Default: the final
            convolutional layer.
        side: as for `gradcam`.
        strip: without layers, one of each resolution, as `gradcam_layers` chooses them.
        curves: deletion and insertion of every map, 44 passes each.
        boxes: from `read_boxes`: drawn on the pictures, with the pointing game.
        randomize: photos for the sanity check by random parameters; 0 for none.
        cells: maps are drawn as cells instead of bilinear between them.
        seed: of the evidence's random orders and of the random parameters.
        strict: raise for a photo that cannot be read instead of leaving it out.
        pass_options: how the pass runs; see `PassOptions`. The stages are
            `Grad-CAM`, `pictures`, `table` and `randomization`. A resume folder cannot be given
            with a target. Default batch size: 16.

    Raises:
        ConvlensError: as `gradcam`; no photo that can be read, a folder of another run, or one
            that cannot be written.
    """
    check_model(model)
    check_photo_list(photos)
    source = PhotoSource(model, photos, strict=strict)
    find_dataset_keys(
        source.dataset, boxes or {}
    )  # that each names one photo is seen before any work
    work = GradCamWork(
        model, side, layers, strip, source.dataset, boxes or {},
        {"classes": classes, "top": top, "pixel": pixel, "target": target}, curves, seed,
    )  # fmt: skip
    found, node_groups = work.found, work.node_groups
    for wanted, what in ((curves, "evidence"), (randomize > 0, "randomization")):
        if wanted and (target is not None or pixel is not None):
            raise ConvlensError(f"{what} is of classes, and a target or a pixel is given")
        if wanted:
            check_one_vector(model, found, what)
    if target is not None and pass_options.resume_folder is not None:
        raise ConvlensError(
            "a target is a function, of which no later run can see whether it is the same; leave "
            "the resume folder out"
        )
    settings = {
        "classes": classes, "top": top, "pixel": pixel,
        "layers": [found.name(node_group.nodes[0]) for node_group in node_groups],
        "side": side,
        "evidence": curves, "boxes": fingerprint(boxes or {}), "seed": seed,
    }  # fmt: skip
    progress = pass_options.progress
    batch_size = pass_options.batch_size or _BATCH
    with (
        open_engine(pass_options.engine),
        _kept(Path(out), pass_options.resume_folder) as (written, state),
    ):
        work.folder = written.absolute()
        # A network that decides by its data has a trace that holds for one image.
        done = run_pass(
            model, work, source, stage="Grad-CAM", settings=settings,
            pass_options=replace(
                pass_options, batch_size=batch_size if found.recording.faked else 1,
                resume_folder=state,
            ),
        )  # fmt: skip
        scales = tuple(done.state["scales"].tolist())
        kept = [number for number in range(len(source)) if number not in done.skipped]
        skipped = {source.name(number): reason for number, reason in done.skipped.items()}
        run_pass(
            model, Drawing(work, scales, cells), NumberSource(source, kept), stage="pictures",
            pass_options=replace(pass_options, batch_size=batch_size, resume_folder=None),
        )  # fmt: skip
        sums = finish(
            written, [(work.names[number], number) for number in kept], skipped,
            boxes=work.boxes if boxes else None, curves=curves,
            progress=lambda at, of: progress("table", at, of),
        )  # fmt: skip
        sanity = None
        if randomize > 0:
            some = model.prepare([source.dataset[number] for number in kept[:randomize]])
            sanity = randomization(
                model, some, classes=classes, top=top, side=side, seed=seed,
                layer=node_groups[0].name if layers is not None else None,
                progress=lambda at, of: progress("randomization", at, of),
            )  # fmt: skip
            sanity.save(written / _SANITY)
    return GradCams(
        folder=str(out),
        photos=tuple(work.names[number] for number in kept),
        skipped=skipped,
        layers=tuple(node_group.name for node_group in node_groups),
        reasons=tuple(node_group.reason for node_group in node_groups),
        scales=scales,
        pointing=sums if boxes is not None else (),
        randomization=sanity,
        prediction_rule=""
        if target
        else describe_prediction_rule(
            found.final_activation, found.num_outputs, class_name(model.labels, 0)
        ),
    )


class GradCamWork:
    """Maps of a batch, each image's written to its folder; only their scale is kept.

    Any engine may run it, in any order: a batch that is taken twice is written twice, the same.
    `folder` is where photos' folders are written, and has to be set before the first batch.
    """

    def __init__(
        self,
        model: Model,
        side: Side,
        layers: str | Sequence[str] | None,
        strip: bool,
        dataset: PhotoDataset,
        boxes: Mapping[str, tuple[Box, ...]],
        wanted: dict[str, Any],
        curves: bool,
        seed: int,
    ) -> None:
        self.model, self.curves, self.seed = model, curves, seed
        self.dataset, self.names = dataset, _names(dataset)
        self.folder = Path()
        self._side, self._layers, self._strip = side, layers, strip
        self.found = trace(model)
        self.node_groups = _node_groups(self.found, layers, side, strip=strip)
        self.given, self._wanted = boxes, wanted
        free = all(wanted[name] is None for name in ("classes", "target", "pixel"))
        self._by_boxes = free and bool(boxes)

    def __getstate__(self) -> dict[str, Any]:
        # A trace holds torch's own functions and stays where it is: it is made again.
        return {
            name: one for name, one in self.__dict__.items() if name not in ("found", "node_groups")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        if not self.folder.is_dir():
            raise ConvlensError(
                f"{self.folder} is not to be seen on {platform.node()}, which is to write into "
                f"it; give an --out that all machines share under the same path"
            )
        self.found = trace(self.model)
        self.node_groups = _node_groups(self.found, self._layers, self._side, strip=self._strip)

    def initial_state(self) -> State:
        """No map yet."""
        return {"scales": torch.zeros(len(self.node_groups), dtype=torch.float64)}

    @recording()
    def process_batch(self, state: State, images: Tensor, ids: Tensor) -> None:
        """Write the results of a batch; written again they are the same."""
        for classes, rows in self._alike(ids):
            wanted = self._wanted if classes is None else {"classes": classes}
            part = images if len(rows) == len(images) else images[rows]
            found, node_groups = self._node_groups_for(part)
            cams = explain(self.model, found, part, node_groups, **wanted)
            highest = torch.tensor([one.scale for one in cams], dtype=torch.float64)
            state["scales"] = torch.maximum(state["scales"], highest)
            for at, row in enumerate(rows):
                self._write(self.names[int(ids[row])], [one.single(at) for one in cams])

    def merge(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> State:
        """The states of two parts of the photos together."""
        return {"scales": torch.maximum(one["scales"], other["scales"])}

    def boxes(self, number: int) -> tuple[Box, ...]:
        """On the image of a photo."""
        return boxes_on_image(self.model, self.dataset[number], self.given)

    def _node_groups_for(self, images: Tensor) -> tuple[Trace, Sequence[NodeGroup]]:
        """The trace and the node groups. A network that decides by its data is traced each time."""
        if self.found.recording.faked:
            return self.found, self.node_groups
        found = trace(self.model, images)
        return found, _node_groups(found, self._layers, self._side, strip=self._strip)

    def _write(self, name: str, cams: Sequence[GradCam]) -> None:
        folder = self.folder / name
        layers = tuple(node_group.name for node_group in self.node_groups)
        (GradCamLayers(layers, tuple(cams)) if len(cams) > 1 else cams[0]).save_data(folder)
        if self.curves:
            for layer, cam in enumerate(cams):
                for rank in range(len(cam.names[0])):
                    proof = deletion_insertion(self.model, cam, rank=rank, seed=self.seed)
                    proof.save(curves_at(folder, layer, rank, len(cams)))

    def _alike(self, ids: Tensor) -> Iterator[tuple[Tensor | None, list[int]]]:
        """Rows of the batch by how many classes their boxes have, with these classes."""
        asked: dict[int, list[tuple[int, list[int]]]] = {}
        for row, number in enumerate(ids.tolist()):
            mine = self.boxes(number) if self._by_boxes else ()
            seen = list(dict.fromkeys(box.classes[0] for box in mine))
            asked.setdefault(len(seen), []).append((row, seen))
        for count, rows in sorted(asked.items()):
            classes = torch.tensor([seen for _, seen in rows]) if count else None
            yield classes, [row for row, _ in rows]


@dataclass(frozen=True)
class Drawing:
    """The pictures of maps that lie in a folder, on the scale that is common to all.

    Attributes:
        maps: what made them.
        scales: of each layer's pictures.
        cells: as for `GradCam.pictures`.
    """

    maps: GradCamWork
    scales: tuple[float, ...]
    cells: bool

    def initial_state(self) -> State:
        """Nothing is kept."""
        return {}

    def process_batch(self, state: State, images: Tensor, ids: Tensor) -> None:
        """Draw those of some photos; drawn again they are the same."""
        for number in ids.tolist():
            folder = self.maps.folder / self.maps.names[number]
            result = Result.load(folder)
            mine = self.maps.boxes(number) if self.maps.given else ()
            outlines = [[box.sides for box in mine]] if mine else None
            if isinstance(result, GradCamLayers):
                result.draw(folder, scales=self.scales, cells=self.cells, boxes=outlines)
            else:
                assert isinstance(result, GradCam)
                result.draw(folder, scale=self.scales[0], cells=self.cells, boxes=outlines)

    def merge(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> State:
        """Nothing."""
        return {}


def _node_groups(
    found: Trace, layers: str | Sequence[str] | None, side: Side, *, strip: bool
) -> list[NodeGroup]:
    if isinstance(layers, str) or (layers is None and not strip):
        return [select_node_group(found, layers, side)]
    return select_strip(found, layers, side)


def _names(dataset: PhotoDataset) -> tuple[str, ...]:
    """A folder name for each photo: that of its file, told apart where two are alike."""
    names = [dataset.name(each) for each in range(len(dataset))]
    return tuple(unique_folder_names(names, taken=(NUMBERS, SCORES, _SANITY)))


@contextmanager
def _kept(out: Path, folder: Path | None) -> Iterator[tuple[Path, Path | None]]:
    """Where photos are written, and what survives a kill; at the end the first becomes `out`."""
    if folder is None:
        with atomic_folder(out, marker=NUMBERS) as temporary:
            yield temporary, None
        return
    check_replaceable_folder(out, marker=NUMBERS)
    photos = folder / "photos"
    if not (folder / MANIFEST).is_file():  # nobody knows of what they are
        shutil.rmtree(photos, ignore_errors=True)
    try:
        photos.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConvlensError(f"cannot write {folder} ({error.strerror or error})") from error
    for half in photos.glob(".convlens-*"):  # what was being written when the run was killed
        shutil.rmtree(half, ignore_errors=True)
    try:
        yield photos, folder
    except BaseException:
        if not (folder / MANIFEST).is_file():  # nothing came about that could be gone on with
            shutil.rmtree(folder, ignore_errors=True)
        raise
    # What is done is forgotten first: it says that the photos' folders are here.
    (folder / MANIFEST).unlink(missing_ok=True)
    with atomic_folder(out, marker=NUMBERS) as temporary:
        temporary.rmdir()
        shutil.move(photos, temporary)
