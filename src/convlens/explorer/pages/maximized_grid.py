"""Maximized images of channels of a layer, for the grid of its page, some at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from convlens.analyses.maximize.maximize import maximize
from convlens.analyses.maximize.result import MaximizedImages, ObjectiveMaximum
from convlens.errors import ConvlensError
from convlens.explorer.event_stream import Computation, fill_template, stream_parts
from convlens.explorer.network import SIDE
from convlens.explorer.rendering import session_of, to_picture
from convlens.explorer.session import Session
from convlens.html.pictures import Picture, PictureBudget
from convlens.results.reproduction import Reproduction
from convlens.tracing.channel_names import check_channel

MOST = 64  # channels, as many as a page of the layer shows
_AT_ONCE = 16  # as many as `maximize` optimizes in a batch, so that images are those of one call
_SIDE = 96  # CSS pixels of an image
_BYTES = 2_000_000  # of the images of a part


@dataclass(frozen=True)
class MaximizedTile:
    """The image of a channel.

    Attributes:
        channel: number of the channel.
        picture: the image.
        reached: the channel's greatest activation in it.
        had_gradient: whether any step had a gradient; an image without one shows nothing.
    """

    channel: int
    picture: Picture | None
    reached: float
    had_gradient: bool


def reproduce_images(session: Session, layer: str, channels: Sequence[int]) -> Reproduction:
    """The call of `maximize` for channels of a layer."""
    objectives = _name_objectives(layer, channels)
    words = [word for objective in objectives for word in ("--channel", objective)]
    call = f"convlens.maximize(model, {objectives}{session.seed_argument})"
    return session.reproducer.reproduction(["maximize", *words], call)


async def layer_images(request: Request) -> Response:
    """The images of the channels that the address names, as events."""
    session = session_of(request)
    row = (await session.network()).find_row(request.path_params["name"])
    assert row.source is not None  # as find_row refuses others
    channels = _read_channels(request.query_params.get("channels", ""))
    for channel in channels:
        check_channel(row.name, channel, row.source.channels)
    parts = [channels[start : start + _AT_ONCE] for start in range(0, len(channels), _AT_ONCE)]
    return stream_parts(request, [_compute(request, session, row.name, part) for part in parts])


def _read_channels(text: str) -> list[int]:
    words = text.split(",")
    if len(words) > MOST or not all(word.isdecimal() and len(word) < 10 for word in words):
        raise ConvlensError(f"the channels are {text!r}; give 1 to {MOST} numbers with commas")
    return [int(word) for word in words]


def _compute(
    request: Request, session: Session, layer: str, channels: Sequence[int]
) -> Computation:
    objectives = _name_objectives(layer, channels)
    name = ("maximize", *objectives)

    async def work() -> MaximizedImages:
        return await session.compute(
            name,
            lambda job: maximize(
                session.model, objectives, side=SIDE, seed=session.seed, progress=job.report
            ),
        )

    def show(result: MaximizedImages) -> str:
        budget = PictureBudget(_BYTES)
        tiles = [
            _draw(session, channel, maximum, budget)
            for channel, maximum in zip(channels, result.maxima, strict=True)
        ]
        return fill_template(
            request, "maximized_tiles.html.jinja", tiles=tiles, layer=layer, to=session.addresses
        )

    description = f"{layer}:{channels[0]}" + (f" to {channels[-1]}" if len(channels) > 1 else "")
    return Computation(session.job_key(name), work, show, description)


def _draw(
    session: Session, channel: int, maximum: ObjectiveMaximum, budget: PictureBudget
) -> MaximizedTile:
    pixels = to_picture(session, maximum.images[:1])
    return MaximizedTile(
        channel,
        budget.thumbnail(pixels, _SIDE),
        float(maximum.reached[0]),
        bool(maximum.had_gradient[0]),
    )


def _name_objectives(layer: str, channels: Sequence[int]) -> list[str]:
    return [f"{layer}:{channel}" for channel in channels]
