"""The comparison page: the same page of two models, each in a frame, with one pointer for both."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, wraps
from http import HTTPStatus
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from convlens.analyses.comparison.similarity.cka_result import Cka
from convlens.errors import ConvlensError, suggest
from convlens.explorer.assets import ASSETS
from convlens.explorer.comparison import (
    compare_answers,
    compare_similarity,
    describe_similarity_cost,
    find_class_pairing,
    similarity_key,
)
from convlens.explorer.event_stream import Computation, fill_template, stream
from convlens.explorer.rendering import Handler, attempt, render, session_of
from convlens.explorer.session import Session
from convlens.results.reproduction import Reproduction

WITH = "with"  # the parameter of an address that names the model beside which a page is shown


@dataclass(frozen=True)
class LayerPair:
    """Two layers and their similarity.

    Attributes:
        first: name of the layer of the first model.
        second: name of the layer of the second model.
        value: their linear CKA.
        null: the greatest CKA with the second layer on other photos.
    """

    first: str
    second: str
    value: float
    null: float


def comparable(handler: Handler) -> Handler:
    """Let an address with `?with=NAME` show the page beside that of the model of this name."""

    @wraps(handler)
    async def answer(request: Request) -> Response:
        name = request.query_params.get(WITH, "")
        if not name or session_of(request).name:
            return await handler(request)
        return await _show_both(request, _find(request.app.state.compared, name))

    return answer


async def answers(request: Request) -> Response:
    """How many answers of the two models differ, as HTML inside JSON."""
    session, other = session_of(request), _find_other(request)
    compared, reason = await attempt(compare_answers(session, other))
    changes, reproduction = compared if compared is not None else (None, None)
    html = fill_template(
        request, "answers.html.jinja", changes=changes, reproduction=reproduction, reason=reason
    )
    return JSONResponse({"html": html})


async def similarity(request: Request) -> Response:
    """What it costs to compare layers of the two models, as HTML inside JSON, with a button."""
    session, other = session_of(request), _find_other(request)
    layer = request.query_params.get("layer", "")
    cost, reason = await attempt(describe_similarity_cost(session, other, layer))
    address = f"/similarity/{other.name}/events?{urlencode({'layer': layer})}"
    html = fill_template(
        request, "similarity_cost.html.jinja", layer=layer, other=other, cost=cost, reason=reason,
        address=address,
    )  # fmt: skip
    return JSONResponse({"html": html})


async def similarity_events(request: Request) -> Response:
    """The similarity of layers of the two models, as events."""
    session, other = session_of(request), _find_other(request)
    layer = request.query_params.get("layer", "")

    def show(computed: tuple[Cka, Reproduction]) -> str:
        result, reproduction = computed
        return fill_template(
            request, "similarity.html.jinja", result=result, reproduction=reproduction,
            pairs=_list_pairs(result), other=other,
        )  # fmt: skip

    key = similarity_key(session, other, layer)
    work = partial(compare_similarity, session, other, layer)
    return stream(request, Computation(key, work, show))


def _list_pairs(result: Cka) -> list[LayerPair]:
    """For each layer its most similar counterpart; for one layer all, the most similar first."""
    if len(result.first_layers) == 1:
        order = result.values[0].argsort(descending=True, stable=True).tolist()
        places = [(0, column) for column in order]
    else:
        places = list(enumerate(result.counterparts.tolist()))
    return [
        LayerPair(
            result.first_layers[row], result.second_layers[column],
            float(result.values[row, column]), float(result.null_high[row, column]),
        )
        for row, column in places
    ]  # fmt: skip


def _find_other(request: Request) -> Session:
    """The session of the other model that a path names.

    Raises:
        HTTPException: there is none of that name.
    """
    try:
        return _find(request.app.state.compared, request.path_params["name"])
    except ConvlensError as error:
        raise HTTPException(HTTPStatus.NOT_FOUND, str(error)) from None


def _find(compared: Sequence[Session], name: str) -> Session:
    for other in compared:
        if other.name == name:
            return other
    names = [other.name for other in compared]
    known = suggest(name, names) if names else "; start convlens explore with --with MODEL"
    raise ConvlensError(f"there is no model {name[:80]!r} to compare with{known}")


async def _show_both(request: Request, other: Session) -> Response:
    path = request.scope["raw_path"].decode("ascii").partition("?")[0]
    query = urlencode([pair for pair in request.query_params.multi_items() if pair[0] != WITH])
    pairing, no_classes = await attempt(find_class_pairing(other))
    return render(
        request, "pages/comparison.html.jinja", other=other, no_classes=no_classes,
        address=f"{path}?{query}" if query else path,
        classes=json.dumps(pairing.to_first if pairing is not None else []),
        difference=pairing.difference if pairing is not None else "",
        scripts=ASSETS.comparison_scripts,
    )  # fmt: skip
