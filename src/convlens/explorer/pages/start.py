"""The start page: photos with their predictions, and the network."""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from convlens.errors import PhotoError
from convlens.explorer.comparison import find_right_classes
from convlens.explorer.pages.events import stream_findings
from convlens.explorer.pages.numbered_pages import take_page
from convlens.explorer.photo_store import LARGEST_FILE, StoredPhoto, receive_photo
from convlens.explorer.rendering import FAST, attempt, render, session_of, to_picture
from convlens.explorer.session import Session
from convlens.html.pictures import Picture, PictureBudget

_PHOTOS = 24  # on one page
_SIDE = 160  # CSS pixels of a photo
_BYTES = 4_000_000  # of the pictures of a page


@dataclass(frozen=True)
class PhotoTile:
    """A photo on the start page.

    Attributes:
        photo: the photo.
        picture: the photo as the network sees it; None where it could not be read.
        answer: the first prediction; empty for a network without class scores.
        probability: its probability.
        right: whether it is right; None where the right class is not known.
        reason: why a part of it is missing; empty if none is.
    """

    photo: StoredPhoto
    picture: Picture | None
    answer: str = ""
    probability: float | None = None
    right: bool | None = None
    reason: str = ""


async def start(request: Request) -> Response:
    """The photos of one page with their predictions."""
    session = session_of(request)
    network = await session.network()
    page = take_page(session.photos, request.query_params.get("page", ""), _PHOTOS)
    budget = PictureBudget(_BYTES, compression=FAST)
    tiles = [await _make_tile(session, photo, budget) for photo in page.entries]
    return render(
        request, "pages/start.html.jinja", network=network, tiles=tiles, page=page,
        count=len(session.photos), skipped=session.photos.skipped,
        checked=page.number == 1 and bool(network.num_classes) and bool(session.photos.files(1)),
        largest=LARGEST_FILE // 2**20,
    )  # fmt: skip


async def findings(request: Request) -> Response:
    """The findings on the first photos, as events."""
    return stream_findings(request)


async def _make_tile(session: Session, photo: StoredPhoto, budget: PictureBudget) -> PhotoTile:
    image, reason = await attempt(session.image(photo))
    if image is None:
        return PhotoTile(photo, None, reason=reason)
    pixels = to_picture(session, image)
    picture = budget.thumbnail(pixels, _SIDE)
    predictions, reason = await attempt(session.predictions(photo))
    if predictions is None:
        return PhotoTile(photo, picture, reason=reason)
    first, right = int(predictions.classes[0, 0]), await find_right_classes(session, photo)
    return PhotoTile(
        photo, picture, predictions.names[0][0], float(predictions.confidences[0, 0]),
        first in right if right else None,
    )  # fmt: skip


async def upload(request: Request) -> Response:
    """Keep a photo that is the body of a request, and answer with its address."""
    session = session_of(request)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > LARGEST_FILE:
        return _refuse_large()
    data = bytearray()
    try:
        async for chunk in request.stream():
            data += chunk
            if len(data) > LARGEST_FILE:
                return _refuse_large()
    except ClientDisconnect:
        return Response(status_code=HTTPStatus.BAD_REQUEST)
    try:
        photo = await asyncio.to_thread(receive_photo, bytes(data))
    except PhotoError as error:
        return JSONResponse({"error": str(error)}, HTTPStatus.UNPROCESSABLE_ENTITY)
    photo = session.photos.add(photo)
    return JSONResponse({"address": session.addresses.photo(photo.key)}, HTTPStatus.CREATED)


def _refuse_large() -> Response:
    return JSONResponse(
        {"error": f"the photo has more than {LARGEST_FILE // 2**20} MiB; save it smaller"},
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    )
