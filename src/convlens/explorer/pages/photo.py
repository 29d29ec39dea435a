"""The photo page: a photo with one overlay, the list of layers, and the inspector."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from torch import Tensor

from convlens.analyses.predictions.predictions import Predictions
from convlens.errors import ConvlensError
from convlens.explorer.comparison import find_right_classes
from convlens.explorer.network import LayerRow, Network, fields_json
from convlens.explorer.pages.attack_panels import (
    ShiftPanel,
    make_attack_panel,
    make_shift_panel,
)
from convlens.explorer.pages.events import stream_dream
from convlens.explorer.pages.photo_panels import (
    GradCamPanel,
    MapPanel,
    draw_stage,
    make_gradcam_panel,
    make_map_panel,
    make_unit_panel,
)
from convlens.explorer.pages.photo_state import (
    EPSILON,
    FORM_FIELDS,
    GRADCAM,
    MAP,
    OVERLAYS,
    SHIFT,
    PhotoState,
)
from convlens.explorer.rendering import FAST, attempt, find_photo, render, session_of, to_picture
from convlens.explorer.session import Session
from convlens.html.pictures import Picture, PictureBudget
from convlens.models.labels import find_class, read_class_index, write_class

_BYTES = 8_000_000  # of the pictures of the page


@dataclass(frozen=True)
class Stage:
    """The photo as it is shown.

    Attributes:
        picture: the photo, or its overlay.
        caption: what it is.
        reason: why there is no overlay; empty if there is one, or none was asked for.
    """

    picture: Picture | None
    caption: str
    reason: str = ""


async def fields(request: Request) -> Response:
    """The receptive fields of all units of the listed layers, as JSON."""
    network = await session_of(request).network()
    return JSONResponse(fields_json(network.rows, network.trace.image_size))


async def file(request: Request) -> Response:
    """The file of a photo that a browser sent, for the commands that name it."""
    stored = find_photo(session_of(request), request.path_params["key"])
    if stored.path is not None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"this photo is a file already, {stored.name}")
    headers = {"Content-Disposition": f'attachment; filename="{stored.file_name}"'}
    return Response(stored.data, media_type="application/octet-stream", headers=headers)


async def numbered_photo(request: Request) -> Response:
    """Lead to the page of a file, which is opened for its hash now."""
    session = session_of(request)
    try:
        stored = session.photos.find_number(request.path_params["number"])
    except ConvlensError as error:
        raise HTTPException(HTTPStatus.NOT_FOUND, str(error)) from None
    return RedirectResponse(session.addresses.photo(stored.key), HTTPStatus.SEE_OTHER)


async def dream(request: Request) -> Response:
    """The dream of a photo, as events."""
    session = session_of(request)
    stored = find_photo(session, request.path_params["key"])
    layer = request.query_params.get("layer") or None
    if layer is not None:
        (await session.network()).find_row(layer)
    return stream_dream(request, stored, layer)


async def photo(request: Request) -> Response:
    """A photo in the state that the address names."""
    session = session_of(request)
    stored = find_photo(session, request.path_params["key"])
    query = request.query_params
    state = PhotoState.read(stored.key, query, session.addresses)
    network = await session.network()
    name = query.get("class_name", "")
    if name and network.num_classes:
        index = find_class(session.model.labels, name[:200], network.num_classes)
        state = replace(state, target=str(index))
    if FORM_FIELDS & query.keys():  # one state has one address
        return RedirectResponse(state.address(), HTTPStatus.SEE_OTHER)
    predictions, no_answer = await attempt(session.predictions(stored))
    target = _find_target(session, network, state, predictions)
    layer = _find_layer(network, state)
    budget = PictureBudget(_BYTES, compression=FAST)
    gradcam, unit, map_panel, reason = None, None, None, ""
    if state.overlay == GRADCAM:
        gradcam, reason = await attempt(make_gradcam_panel(session, stored, state, target, budget))
    if state.overlay == MAP and layer is not None:
        map_panel, reason = await attempt(make_map_panel(session, stored, state, layer, budget))
    attack, shifted = None, None
    if state.overlay == EPSILON:
        attack, reason = await attempt(
            make_attack_panel(session, stored, int(state.level or 0), budget)
        )
    if state.overlay == SHIFT:
        shifted, reason = await attempt(make_shift_panel(session, stored, state.offset, budget))
    no_unit = ""
    if state.position is not None and layer is not None:
        unit, no_unit = await attempt(
            make_unit_panel(session, stored, layer.name, state.position, budget)
        )
    image, unreadable = await attempt(session.image(stored))
    if image is None:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, unreadable)
    stage = _make_stage(session, image, gradcam, map_panel, shifted, budget, reason)
    return render(
        request, "pages/photo.html.jinja", network=network, photo=stored, state=state,
        overlays=OVERLAYS, predictions=predictions, no_answer=no_answer, target=target,
        layer=layer, stage=stage, gradcam=gradcam, map_panel=map_panel, attack=attack,
        shifted=shifted, unit=unit, no_unit=no_unit, image_size=tuple(image.shape[-2:]),
        answers=_list_answers(predictions, await find_right_classes(session, stored) or ()),
        target_text=_write_target(session, network, target) if state.target else "",
    )  # fmt: skip


def _find_target(
    session: Session, network: Network, state: PhotoState, predictions: Predictions | None
) -> int | None:
    """The class that is explained; None for a network without class scores.

    Raises:
        ConvlensError: there is no class of that name.
    """
    if not network.num_classes:
        return None
    if state.target:
        return read_class_index(session.model.labels, state.target, network.num_classes)
    # A network with one output predicts class 0 or not; the logit of class 0 is explained.
    return max(int(predictions.classes[0, 0]), 0) if predictions is not None else 0


def _write_target(session: Session, network: Network, target: int | None) -> str:
    """What the form, which takes names before indices, reads as the class."""
    if target is None:
        return ""
    return write_class(session.model.labels, target, network.num_classes)


def _find_layer(network: Network, state: PhotoState) -> LayerRow | None:
    """The row of the layer that the address names.

    Without a name it is the layer that Grad-CAM explains, and for other overlays the last one whose
    fields are at most half as high as the image. None for a network without maps.

    Raises:
        ConvlensError: there is no layer of that name, or it has no map.
    """
    if state.layer:
        return network.find_row(state.layer)
    if state.overlay == GRADCAM:
        return network.final_row
    half = network.trace.image_size[0] // 2
    small = [
        row for row in network.with_maps
        if row.field is not None and int((row.field.high[0] - row.field.low[0]).max()) < half
    ]  # fmt: skip
    rows = small or network.with_maps
    return rows[-1] if rows else None


def _list_answers(
    predictions: Predictions | None, right: Sequence[int]
) -> list[tuple[int, str, float, bool]]:
    """Index, name and probability of the first classes, and whether each is right."""
    if predictions is None:
        return []
    return [
        (index, name, share, index in right)
        for index, name, share in zip(
            predictions.classes[0].tolist(), predictions.names[0],
            predictions.confidences[0].tolist(), strict=True,
        )
    ]  # fmt: skip


def _make_stage(
    session: Session,
    image: Tensor,
    gradcam: GradCamPanel | None,
    map_panel: MapPanel | None,
    shifted: ShiftPanel | None,
    budget: PictureBudget,
    reason: str,
) -> Stage:
    """The overlay that was computed, or the photo itself."""
    if gradcam is not None:
        return Stage(gradcam.picture, gradcam.caption)
    if map_panel is not None:
        return Stage(map_panel.picture, map_panel.caption)
    if shifted is not None and shifted.offset != (0, 0):
        return Stage(shifted.picture, "The shifted photo; what leaves at one edge enters opposite.")
    pixels = to_picture(session, image)
    picture = draw_stage(pixels, budget)
    return Stage(picture, "The photo as the network sees it.", reason)
