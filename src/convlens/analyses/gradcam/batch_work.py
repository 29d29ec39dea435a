"""What a Grad-CAM pass does with each batch: write the maps of its photos, then draw them.

Any engine may process the batches in any order. A batch that is processed twice is written twice,
with the same content.
"""

import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convlens.analyses.gradcam.boxes import ObjectBox, boxes_on_image
from convlens.analyses.gradcam.deletion_insertion import deletion_insertion
from convlens.analyses.gradcam.gradcam import explain
from convlens.analyses.gradcam.layers import select_node_group, select_node_groups
from convlens.analyses.gradcam.layers_result import GradCamLayers
from convlens.analyses.gradcam.options import GradCamOptions
from convlens.analyses.gradcam.result import GradCam
from convlens.analyses.gradcam.table import curves_folder, load_maps
from convlens.capture.folded_networks import fold_batch_norms
from convlens.capture.gradients import enable_gradients
from convlens.data.datasets.photo_dataset import PhotoDataset
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.passes.reducer import State
from convlens.results.folder import write_pictures
from convlens.tracing.selection import NodeGroup
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace

# Photos from which on a copy of the network with folded batch normalizations saves time. The maps
# of fewer photos are those of `gradcam` in every bit.
_LEAST_FOLDED = 16


@dataclass(frozen=True, kw_only=True)
class MapSettings:
    """What a pass computes for each photo.

    Attributes:
        options: what is explained, and at which layer.
        layers: several layers instead of the one of the options, or None.
        strip: without layers: one layer of each resolution.
        deletion_insertion: whether to compute deletion and insertion curves of each map.
        boxes: the boxes of all photos; empty for none.
        seed: seed of the curves' random orders.
    """

    options: GradCamOptions
    layers: Sequence[str] | None = None
    strip: bool = False
    deletion_insertion: bool = False
    boxes: Mapping[str, tuple[ObjectBox, ...]]
    seed: int = 0

    def select(self, model_trace: Trace) -> list[NodeGroup]:
        """The layers at which maps are computed, from coarse to fine."""
        if self.layers is None and not self.strip:
            return [select_node_group(model_trace, self.options)]
        return select_node_groups(model_trace, self.layers, self.options.side)

    @property
    def by_boxes(self) -> bool:
        """Whether the classes of a photo's boxes are explained."""
        choices = (self.options.classes, self.options.target, self.options.pixel)
        return bool(self.boxes) and all(choice is None for choice in choices)


class MapWork:
    """Computes the maps of a batch and writes those of each photo to a folder of its own.

    The state holds the greatest absolute value of each layer's maps, the scale of all pictures.
    `folder` is the folder that holds the photos' folders; it has to be set before the first batch.
    """

    def __init__(
        self, model: Model, dataset: PhotoDataset, names: Sequence[str], settings: MapSettings
    ) -> None:
        self.model, self.dataset, self.names, self.settings = model, dataset, names, settings
        self.folder = Path()
        self.model_trace = trace(model)
        self.node_groups = settings.select(self.model_trace)

    def __getstate__(self) -> dict[str, Any]:
        # A trace holds torch's own functions, which cannot be pickled; the receiver traces again.
        return {
            name: value
            for name, value in self.__dict__.items()
            if name not in ("model_trace", "node_groups")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        if not self.folder.is_dir():
            raise ConvlensError(
                f"{platform.node()} has to write into {self.folder} and does not see it; give an "
                f"--out that all machines share under the same path"
            )
        self.model_trace = trace(self.model)
        self.node_groups = self.settings.select(self.model_trace)

    def initial_state(self) -> State:
        """The scales of no maps."""
        return {"scales": torch.zeros(len(self.node_groups), dtype=torch.float64)}

    @enable_gradients()
    def process_batch(self, state: State, images: Tensor, ids: Tensor) -> None:
        """Compute and write the maps of a batch."""
        with fold_batch_norms() if len(self.names) >= _LEAST_FOLDED else nullcontext():
            self._process(state, images, ids)

    def _process(self, state: State, images: Tensor, ids: Tensor) -> None:
        for classes, rows in self._group_by_class_count(ids):
            options = self.settings.options
            if classes is not None:
                options = replace(options, classes=classes)
            part = images if len(rows) == len(images) else images[rows]
            model_trace, node_groups = self._trace_for(part)
            cams = explain(self.model, model_trace, part, node_groups, options)
            scales = torch.tensor([cam.scale for cam in cams], dtype=torch.float64)
            state["scales"] = torch.maximum(state["scales"], scales)
            for image, row in enumerate(rows):
                name = self.names[int(ids[row])]
                self._write(name, [cam.select_image(image) for cam in cams])

    def merge(self, state_a: Mapping[str, Tensor], state_b: Mapping[str, Tensor]) -> State:
        """The scales of two sets of photos together."""
        return {"scales": torch.maximum(state_a["scales"], state_b["scales"])}

    def boxes(self, number: int) -> tuple[ObjectBox, ...]:
        """The boxes on the image of a photo."""
        return boxes_on_image(self.model, self.dataset[number], self.settings.boxes)

    def _trace_for(self, images: Tensor) -> tuple[Trace, Sequence[NodeGroup]]:
        """The trace and the layers for images; a data-dependent network is traced again."""
        if self.model_trace.recording.faked:
            return self.model_trace, self.node_groups
        model_trace = trace(self.model, images)
        return model_trace, self.settings.select(model_trace)

    def _write(self, name: str, cams: Sequence[GradCam]) -> None:
        folder = self.folder / name
        layers = tuple(group.name for group in self.node_groups)
        (GradCamLayers(layers, tuple(cams)) if len(cams) > 1 else cams[0]).save_data(folder)
        if not self.settings.deletion_insertion:
            return
        for layer, cam in enumerate(cams):
            for rank in range(len(cam.names[0])):
                curves = deletion_insertion(self.model, cam, rank=rank, seed=self.settings.seed)
                curves.save(curves_folder(folder, layer, rank, len(cams)))

    def _group_by_class_count(self, ids: Tensor) -> Iterator[tuple[Tensor | None, list[int]]]:
        """Rows of the batch whose boxes have equally many classes, with these classes."""
        groups: dict[int, list[tuple[int, list[int]]]] = {}
        for row, number in enumerate(ids.tolist()):
            boxes = self.boxes(number) if self.settings.by_boxes else ()
            classes = list(dict.fromkeys(box.classes[0] for box in boxes))
            groups.setdefault(len(classes), []).append((row, classes))
        for count, rows in sorted(groups.items()):
            tensor = (
                torch.tensor([classes for _, classes in rows], dtype=torch.int64) if count else None
            )
            yield tensor, [row for row, _ in rows]


@dataclass(frozen=True)
class DrawingWork:
    """Draws the maps that `MapWork` has written, on the scales that all of them share.

    Attributes:
        maps: the work that has written the maps.
        scales: for each layer the value with the strongest color.
        cells: draw cells with hard edges instead of values between them.
    """

    maps: MapWork
    scales: tuple[float, ...]
    cells: bool

    def initial_state(self) -> State:
        """The empty state, because drawing keeps nothing."""
        return {}

    def process_batch(self, state: State, images: Tensor, ids: Tensor) -> None:
        """Draw the maps of some photos."""
        for number in ids.tolist():
            folder = self.maps.folder / self.maps.names[number]
            result = load_maps(folder)
            boxes = self.maps.boxes(number) if self.maps.settings.boxes else ()
            outlines = [[box.edges for box in boxes]] if boxes else None
            if isinstance(result, GradCamLayers):
                pictures = result.pictures(scales=self.scales, cells=self.cells, outlines=outlines)
            else:
                pictures = result.pictures(
                    scale=self.scales[0], cells=self.cells, outlines=outlines
                )
            write_pictures(folder, pictures, photo=self.maps.names[number])

    def merge(self, state_a: Mapping[str, Tensor], state_b: Mapping[str, Tensor]) -> State:
        """The empty state, because drawing keeps nothing."""
        return {}
