"""The section on channels: the patches that activate channels most, beside maximized images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from convlens.analyses.maximize.result import MaximizedImages
from convlens.analyses.patches.dataset_pass import patches
from convlens.analyses.patches.pictures import draw_strengths
from convlens.analyses.patches.result import LayerPatches, Patches
from convlens.data.sampling import spread
from convlens.html.pictures import Picture, PictureBudget
from convlens.page.budget import Budget
from convlens.page.channel_choice import choose_channels, find_explained_channels, sees_a_part
from convlens.page.inputs import Inputs
from convlens.page.maximized_images import STEPS, maximize_within, reproduce_maximized
from convlens.page.photo_cards import PhotoCards
from convlens.page.result import Finding, Tile
from convlens.page.section import Section, Thumbnail
from convlens.passes.options import PassOptions
from convlens.results import Result
from convlens.results.reproduction import Reproduction
from convlens.tracing.selection import find_channel_sources
from convlens.wording import counted, enumerated

FEW = 2  # of each layer that are not folded
SUMMARIZED = 4  # the same, of a layer whose units see the whole image
MAXIMIZED_SIDE = 96  # pixels of the side of a maximized image, at most where the network allows
IMAGES = Budget(items=STEPS[1], work=1.9e11)  # of the maximized images
_IMAGE_SIDE = 96  # CSS pixels of a maximized image
_MOST_SILENT = 8  # channels that never fire, by their numbers


@dataclass(frozen=True, eq=False)
class Channels(Result):
    """Channels of a few layers.

    Attributes:
        patches: the patches of the photos that activate them most.
        maximized: images that activate the same channels, for each layer of `patches`; None for a
            layer where they cannot be computed.
    """

    patches: Patches
    maximized: tuple[MaximizedImages | None, ...]

    @property
    def addresses(self) -> list[str]:
        """The channels with patches as LAYER:K, which are their addresses on the page too."""
        return [
            f"{layer.layer}:{shown.channel}"
            for layer in self.patches.layers
            for shown in layer.shown
            if shown.photos
        ]


@dataclass(frozen=True)
class _Strip:
    """Pictures of one channel; those that do not fit into the budget are None.

    `at` and `image_at` are the paths of its numbers in the result; `at_limit` says that the
    strongest activation is the greatest that the non-linearity returns.
    """

    channel: int
    at_limit: bool
    fires_always: bool
    at: str
    image_at: str
    whole: Picture | None
    top: Picture | None
    bands: Picture | None
    photos: tuple[str, ...]
    image: Picture | None


@dataclass(frozen=True)
class _LayerView:
    """What the page shows of one layer.

    Attributes:
        patches: the layer's patches.
        maximized: images that activate the same channels, or None.
        strips: pictures of each channel.
        local: a unit sees a part of the image, so that its patches differ from the photos.
        limit: greatest value that the layer's non-linearity returns, or None.
        silent: numbers of the channels that never fire, as text.
        reproduce_patches: the patches of this layer.
        reproduce_images: its maximized images, or None.
    """

    patches: LayerPatches
    maximized: MaximizedImages | None
    strips: list[_Strip]
    local: bool
    limit: float | None
    silent: str
    reproduce_patches: Reproduction
    reproduce_images: Reproduction | None


class ChannelsSection(Section[Channels]):
    """What activates channels most."""

    name = "channels"
    title = "Channels"
    budget = Budget(items=256, bytes=2_500_000)
    missing = "No channels"

    def compute(self, inputs: Inputs) -> Channels:
        """Patches of a few layers, and maximized images of the same channels.

        Raises:
            ConvlensError: the network has no channels with maps.
        """
        numbers = spread(
            range(len(inputs.photos)), self.budget.affordable(2 * inputs.multiply_adds)
        )
        show = choose_channels(inputs)
        strongest = patches(
            inputs.model,
            inputs.paths(numbers),
            layers=list(show),
            show=show,
            seed=inputs.options.seed,
            pass_options=PassOptions(progress=inputs.stages.reporter("channels")),
        )
        channels = Channels(strongest, _maximize_channels(inputs, strongest))
        inputs.addresses.update(channels.addresses)
        return channels

    def findings(self, inputs: Inputs, result: Channels) -> Iterator[Finding]:
        """Whether the patches can be trusted, and which channels never fire."""
        layers, photo_count = result.patches.layers, result.patches.images_read
        wrong = [layer.layer for layer in layers if layer.crop_check.holds is False]
        if wrong:
            yield Finding(
                "broken",
                f"Patches of {enumerated(wrong)}, run again alone, give another activation: do "
                f"not trust them.",
                "channels", rank=9,
            )  # fmt: skip
        rectified = [layer for layer in layers if layer.post]  # elsewhere 0 is no threshold
        if not rectified:
            return
        photos = counted(photo_count, "photo")
        dead = [layer for layer in rectified if layer.dead]
        if not dead:
            total = sum(layer.channels for layer in rectified)
            yield Finding(
                "fine",
                f"Every channel fires somewhere on {photos} ({counted(total, 'channel')} of "
                f"{counted(len(rectified), 'layer')}).",
                "channels", rank=9,
            )  # fmt: skip
            return
        parts = [
            f"{len(layer.dead)} of {counted(layer.channels, 'channel')} of {layer.layer}"
            for layer in dead
        ]
        verb = "fires" if [len(layer.dead) for layer in dead] == [1] else "fire"
        these = "this photo" if photo_count == 1 else f"these {photos}"
        most = max(dead, key=lambda layer: len(layer.dead) / layer.channels)
        yield Finding(
            "look", f"{enumerated(parts)} never {verb} on {these}.",
            "channels", rank=9, examples=(f"channels-{most.layer}",),
        )  # fmt: skip

    def tiles(self, inputs: Inputs, result: Channels) -> Iterator[Tile]:
        """The share of channels that never fire, beside patches of channels."""
        rectified = [layer for layer in result.patches.layers if layer.post]
        wrong = [layer for layer in result.patches.layers if layer.crop_check.holds is False]
        total = sum(layer.channels for layer in rectified)
        dead = sum(len(layer.dead) for layer in rectified)
        if wrong or not total:
            return  # the findings say so
        yield Tile(
            "Channels", "look" if dead else "fine",
            f"{100 * dead / total:.2g} % never fire" if dead else "all fire",
            f"{total:,} channels of {counted(len(rectified), 'layer')} on "
            f"{counted(result.patches.images_read, 'photo')}. Each patch was run again alone.",
            "channels", rank=4, examples=_telling_channels(inputs, result),
        )  # fmt: skip

    def thumbnail(self, inputs: Inputs, result: Channels, address: str) -> Thumbnail | None:
        """The patch that activates a channel most, or the channels of a layer by their strength."""
        for layer in result.patches.layers:
            if address == f"channels-{layer.layer}":
                return Thumbnail(
                    draw_strengths(layer.values[:, 0], layer.dead),
                    f"the {counted(layer.channels, 'channel')} of {layer.layer} by their greatest "
                    f"activation, those that never fire in red",
                )
            for shown in layer.shown:
                if address == f"{layer.layer}:{shown.channel}" and len(shown.tiles):
                    return Thumbnail(shown.tiles[0], address)
        return None

    def reproduction(self, inputs: Inputs, result: Channels) -> Reproduction:
        """The patches of all layers."""
        return _reproduce_patches(inputs, result.patches, result.patches.layers)

    def view(self, inputs: Inputs, result: Channels, pictures: PictureBudget) -> dict[str, Any]:
        """For each layer a strip of pictures for each channel."""
        cards = inputs.result("photos", PhotoCards)
        return {
            "layers": [
                _view_layer(inputs, result, number, pictures)
                for number in range(len(result.patches.layers))
            ],
            "any_images": any(result.maximized),
            "detector": find_explained_channels(cards)[0] if cards else None,
            "few": FEW,
            "summarized": SUMMARIZED,
        }


def _telling_channels(inputs: Inputs, result: Channels) -> tuple[str, ...]:
    """Addresses of four channels of the deepest layer whose units see at most half the image."""
    half = max(inputs.model.size) / 2
    layers = [layer for layer in result.patches.layers if layer.shown]
    local = [layer for layer in layers if layer.field_size and max(layer.field_size) <= half]
    if not layers:
        return ()
    layer = (local or layers)[-1]
    shown = [channel for channel in layer.shown if channel.photos]
    return tuple(f"{layer.layer}:{channel.channel}" for channel in shown[:4])


def _view_layer(
    inputs: Inputs, result: Channels, number: int, pictures: PictureBudget
) -> _LayerView:
    layer, maximized = result.patches.layers[number], result.maximized[number]
    source = find_channel_sources(inputs.trace, [layer.layer])[0]
    local = sees_a_part(inputs.trace, source.node)
    images = maximized.tiles() if maximized is not None else None
    strips = [
        _Strip(
            channel=shown.channel,
            at_limit=shown.values[:1] == (source.limit,),
            fires_always=shown.fired == 1,
            at=f"patches.layers.{number}.shown.{index}",
            image_at=f"maximized.{number}.maxima.{index}",
            whole=pictures.strip(shown.framed_image[None]),
            top=pictures.strip(shown.tiles) if local else None,
            bands=pictures.strip(shown.bands) if local else None,
            photos=tuple(photo.rpartition("/")[2] for photo in shown.photos),
            image=pictures.smooth(images[index][0], _IMAGE_SIDE) if images else None,
        )
        for index, shown in enumerate(layer.shown)
        if shown.photos
    ]
    return _LayerView(
        patches=layer,
        maximized=maximized,
        strips=strips,
        local=local,
        limit=source.limit,
        silent=enumerated([str(channel) for channel in layer.dead], _MOST_SILENT),
        reproduce_patches=_reproduce_patches(inputs, result.patches, [layer]),
        reproduce_images=reproduce_maximized(inputs, maximized) if maximized is not None else None,
    )


def _maximize_channels(inputs: Inputs, strongest: Patches) -> tuple[MaximizedImages | None, ...]:
    """For each layer the images of the channels that are shown, or None where it has none."""
    layers = [
        [f"{layer.layer}:{shown.channel}" for shown in layer.shown] for layer in strongest.layers
    ]
    images: list[MaximizedImages | None] = []
    for number, targets in enumerate(layers):
        inputs.stages.report("maximized images", number, len(layers))
        maximized = None
        with inputs.stages.attempt("channels/maximized images"):
            if targets:
                work = IMAGES.work / len(layers)
                layer = strongest.layers[number].layer
                maximized = maximize_within(
                    inputs,
                    targets,
                    MAXIMIZED_SIDE,
                    work,
                    inputs.multiply_adds_until(layer),
                    strongest,
                )
        images.append(maximized)
    inputs.stages.report("maximized images", len(layers), len(layers))
    return tuple(images)


def _reproduce_patches(
    inputs: Inputs, result: Patches, layers: Sequence[LayerPatches]
) -> Reproduction:
    """The same channels of some layers, on the same photos."""
    paths = inputs.paths(spread(range(len(inputs.photos)), result.images_read))
    show = {layer.layer: [shown.channel for shown in layer.shown] for layer in layers}
    words = [
        word
        for layer, channels in show.items()
        for channel in channels
        for word in ("--channel", f"{layer}:{channel}")
    ]
    name = "patches" if len(layers) > 1 else f"patches-{layers[0].layer}"
    return inputs.reproducer.reproduction(
        name,
        ["patches", *paths, *words],
        f"convlens.patches(model, {paths}, layers={list(show)}, show={show}, "
        f"seed={inputs.options.seed})",
    )


SECTION = ChannelsSection()
