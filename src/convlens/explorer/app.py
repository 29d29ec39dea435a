"""The addresses of the explorer, and the application that answers them."""

import gc
from collections.abc import Sequence
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from convlens.explorer.addresses import LABELS
from convlens.explorer.assets import serve_asset
from convlens.explorer.pages.channel import channel, image, tuning
from convlens.explorer.pages.classes import class_image, class_page
from convlens.explorer.pages.comparison import (
    answers,
    comparable,
    similarity,
    similarity_events,
)
from convlens.explorer.pages.convolution import convolution
from convlens.explorer.pages.errors import cause_events, error_events, errors, labels_table
from convlens.explorer.pages.kernel import kernel
from convlens.explorer.pages.layer import layer
from convlens.explorer.pages.maximized_grid import layer_images
from convlens.explorer.pages.photo import dream, fields, file, numbered_photo, photo
from convlens.explorer.pages.search import search
from convlens.explorer.pages.start import findings, start, upload
from convlens.explorer.rendering import describe_fault, make_templates, page, show_failure
from convlens.explorer.session import Session


class _IndexConvertor(Convertor[int]):
    """The number of a channel or a photo; longer text than any such number has no page."""

    regex = "[0-9]{1,9}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("index", _IndexConvertor())

_ROUTES = [
    Route("/", page(comparable(start))),
    Route("/findings", page(findings)),
    Route("/photos", upload, methods=["POST"]),
    Route("/photos/{number:index}", page(numbered_photo)),
    Route("/photo/{key}", page(comparable(photo))),
    Route("/photo/{key}/file", page(file)),
    Route("/photo/{key}/dream", page(dream)),
    Route("/layer/{name:path}", page(comparable(layer))),
    Route("/maximized/{name:path}", page(layer_images)),
    Route("/channel/{name:path}/{channel:index}/image", page(image)),
    Route("/channel/{name:path}/{channel:index}/tuning", page(tuning)),
    Route("/channel/{name:path}/{channel:index}", page(comparable(channel))),
    Route("/kernel/{name:path}/{channel:index}", page(comparable(kernel))),
    Route("/class/{index}/image", page(class_image)),
    Route("/class/{index}", page(comparable(class_page))),
    Route("/errors", page(comparable(errors))),
    Route("/errors/analysis", page(error_events)),
    Route("/errors/causes", page(cause_events)),
    Route(f"/{LABELS}", page(labels_table)),
    Route("/convolution", page(comparable(convolution))),
    Route("/fields.json", page(fields)),
    Route("/search.json", page(search)),
    Route("/assets/{name}", serve_asset),
]


def make_app(
    session: Session, compared: Sequence[Session] = (), *, static: bool = False
) -> Starlette:
    """The application.

    Args:
        session: the model, the photos and the worker.
        compared: those of the models that pages can be shown beside; each has a name. Default:
            none.
        static: leave out what only a server can answer, for pages that become files. Default: keep
            it.
    """
    routes = [
        *_ROUTES,
        Mount("/with/{compared}", routes=_ROUTES),
        Route("/answers/{name}", page(answers)),
        Route("/similarity/{name}", page(similarity)),
        Route("/similarity/{name}/events", page(similarity_events)),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={HTTPException: _show_http_error, Exception: _show_error},
    )
    app.state.session = session
    app.state.compared = compared
    app.state.static = static
    app.state.templates = make_templates()
    return app


async def _show_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = error.detail
    if error.status_code == HTTPStatus.NOT_FOUND and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = "There is no page at this address; the search finds layers, channels and classes."
    return show_failure(request, detail, error.status_code)


async def _show_error(request: Request, error: Exception) -> Response:
    """A page for a fault of convlens itself; uvicorn prints the traceback."""
    gc.collect()  # a computation that ran out of memory leaves large tensors in its frames
    return show_failure(request, describe_fault(error), HTTPStatus.INTERNAL_SERVER_ERROR)
