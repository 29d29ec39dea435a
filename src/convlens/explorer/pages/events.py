"""The long computations of pages, as server-sent events."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from torch import Tensor

from convlens.explorer.event_stream import Computation, fill_template, stream, stream_parts
from convlens.explorer.pages.channel_panels import draw_tuning
from convlens.explorer.photo_findings import FINDERS, Finder
from convlens.explorer.photo_store import StoredPhoto
from convlens.explorer.rendering import FAST, session_of, to_picture
from convlens.explorer.session import Session
from convlens.html.pictures import Picture, PictureBudget

_SIDE = 224  # CSS pixels of a maximized image
_DREAM = 512  # CSS pixels of a dream, at most
_DREAM_BYTES = 8_000_000
_BYTES = 1_000_000


def stream_maximized(request: Request, objective: str) -> Response:
    """Events of the ascent of one objective."""
    session = session_of(request)

    def draw(images: Tensor) -> Picture | None:
        pixels = to_picture(session, images[:1])
        return PictureBudget(_BYTES).thumbnail(pixels, _SIDE)

    def show(computed: Any) -> str:
        maximum, reproduction = computed
        return fill_template(
            request, "maximized.html.jinja", picture=draw(maximum.images), maximum=maximum,
            reproduction=reproduction,
        )  # fmt: skip

    key = session.maximized_key(objective)
    computation = Computation(key, lambda: session.maximized(objective), show, draw=draw)
    return stream(request, computation)


def stream_tuning(request: Request, layer: str, channel: int) -> Response:
    """Events of the gratings shown to a layer."""
    session = session_of(request)

    def show(computed: Any) -> str:
        tuning, reproduction = computed
        return fill_template(
            request, "tuning.html.jinja", tuning=draw_tuning(tuning, channel),
            reproduction=reproduction,
        )  # fmt: skip

    key = session.tuning_key(layer)
    return stream(request, Computation(key, lambda: session.tuning(layer), show))


def stream_dream(request: Request, photo: StoredPhoto, layer: str | None) -> Response:
    """Events of a dream."""
    session = session_of(request)

    def draw(image: Tensor) -> Picture | None:
        pixels = to_picture(session, image[None])
        budget = PictureBudget(_DREAM_BYTES, compression=FAST)
        return budget.photo(pixels, exact=True, side=_DREAM)

    def show(computed: Any) -> str:
        dream, reproduction = computed
        return fill_template(
            request, "dream.html.jinja", picture=draw(dream.image), dream=dream,
            reproduction=reproduction,
        )  # fmt: skip

    key = session.dream_key(photo, layer)
    computation = Computation(key, lambda: session.dream(photo, layer), show, draw=draw)
    return stream(request, computation)


def stream_findings(request: Request) -> Response:
    """Events of the findings on the first photos, one after the other."""
    session = session_of(request)
    return stream_parts(request, [_find(request, session, finder) for finder in FINDERS])


def _find(request: Request, session: Session, finder: Finder) -> Computation:
    return Computation(
        finder.key(session),
        lambda: finder.compute(session),
        lambda finding: fill_template(request, "finding.html.jinja", finding=finding),
        finder.description,
    )
