"""The comparison page: the same page of two models, each in a frame, with one pointer for both."""

import json
from collections.abc import Sequence
from functools import wraps
from http import HTTPStatus
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from convlens.errors import ConvlensError, suggest
from convlens.explorer.assets import ASSETS
from convlens.explorer.comparison import compare_answers, find_class_pairing
from convlens.explorer.rendering import Handler, attempt, render, session_of
from convlens.explorer.session import Session

WITH = "with"  # the parameter of an address that names the model beside which a page is shown


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
    session = session_of(request)
    try:
        other = _find(request.app.state.compared, request.path_params["name"])
    except ConvlensError as error:
        raise HTTPException(HTTPStatus.NOT_FOUND, str(error)) from None
    compared, reason = await attempt(compare_answers(session, other))
    changes, reproduction = compared if compared is not None else (None, None)
    html = request.app.state.templates.get_template("answers.html.jinja").render(
        changes=changes, reproduction=reproduction, reason=reason
    )
    return JSONResponse({"html": html})


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
