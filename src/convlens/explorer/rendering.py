"""Renders pages, and answers requests whose analysis fails or whose browser has gone on."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from http import HTTPStatus
from typing import Any, TypeVar

from jinja2 import Environment
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from torch import Tensor

from convlens.data.images import to_pixels
from convlens.errors import ConvlensError
from convlens.explorer.assets import ASSETS
from convlens.explorer.photo_store import StoredPhoto
from convlens.explorer.session import Session
from convlens.explorer.static_site import DATA
from convlens.explorer.worker import StoppedError
from convlens.html.scales import overlaid, signed, unsigned
from convlens.html.templates import environment

Handler = Callable[[Request], Awaitable[Response]]
Shown = TypeVar("Shown")

FAST = 1  # compression of PNG files, which travel no further than this machine
_GONE = 499  # nobody reads the answer


def make_templates() -> Environment:
    """The templates of the explorer."""
    templates = environment("convlens.explorer")
    templates.globals.update(
        stylesheet=ASSETS.stylesheet_address,
        scripts=ASSETS.script_addresses,
        exported_data=DATA,
        scales={"overlay": overlaid(), "signed": signed(), "unsigned": unsigned()},
    )
    return templates


def session_of(request: Request) -> Session:
    """The session of the model that an address names.

    Raises:
        HTTPException: the explorer does not have it.
    """
    session = _find_session(request)
    if session is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "the explorer has no model of this name")
    return session


def _find_session(request: Request) -> Session | None:
    name = request.path_params.get("compared", "")
    return next((session for session in _list_sessions(request) if session.name == name), None)


def _list_sessions(request: Request) -> list[Session]:
    return [request.app.state.session, *request.app.state.compared]


def render(
    request: Request, template: str, status: int = HTTPStatus.OK, /, **values: Any
) -> Response:
    """A page from a template."""
    first = request.app.state.session
    session = _find_session(request) or first
    templates: Environment = request.app.state.templates
    text = templates.get_template(template).render(
        model=session.model, title=session.title, to=session.addresses,
        other_models=request.app.state.compared if session is first else (),
        static=request.app.state.static, labeled_photos=session.photos.num_labeled, **values,
    )  # fmt: skip
    return HTMLResponse(text, status)


def find_photo(session: Session, key: str) -> StoredPhoto:
    """The photo with a hash.

    Raises:
        HTTPException: there is none.
    """
    try:
        return session.photos.find(key)
    except ConvlensError as error:
        raise HTTPException(HTTPStatus.NOT_FOUND, str(error)) from None


async def attempt(shown: Awaitable[Shown]) -> tuple[Shown | None, str]:
    """What a part of a page shows, or the reason why an analysis does not apply.

    Returns:
        The result and an empty text, or None and the reason.
    """
    try:
        return await shown, ""
    except ConvlensError as error:
        return None, str(error)


def page(handler: Handler) -> Handler:
    """Make a handler stop when its browser goes away, and show errors as pages."""

    @wraps(handler)
    async def answer(request: Request) -> Response:
        for session in _list_sessions(request):
            session.notice_changes()
        work = asyncio.ensure_future(handler(request))
        gone = asyncio.ensure_future(_wait_until_gone(request))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                return Response(status_code=_GONE)
            return work.result()
        except ConvlensError as error:
            return show_failure(request, str(error), HTTPStatus.BAD_REQUEST)
        except HTTPException as error:
            return show_failure(request, error.detail, error.status_code)
        except StoppedError:
            reason = "The explorer has been stopped; start it again."
            return show_failure(request, reason, HTTPStatus.SERVICE_UNAVAILABLE)
        finally:
            work.cancel()
            gone.cancel()

    return answer


def show_failure(request: Request, reason: str, status: int) -> Response:
    """A page that states why there is no other one."""
    return render(request, "pages/failure.html.jinja", status, reason=reason, code=int(status))


def describe_fault(error: Exception) -> str:
    """What a page says of an error that is a fault of convlens itself."""
    return f"convlens failed here ({type(error).__name__}); the terminal shows where."


async def _wait_until_gone(request: Request) -> None:
    """Return when the browser has closed the connection."""
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            return


def to_picture(session: Session, image: Tensor) -> Tensor:
    """The pixels of one image `(1, C, H, W)`, uint8 `(H, W, 3)`, also of one in gray."""
    return to_pixels(image, session.model.bounds)[0].expand(-1, -1, 3).contiguous()
