"""Long computations as server-sent events: progress, and at the end the result as HTML."""

import asyncio
import json
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from convlens.data.images import to_pixels
from convlens.errors import ConvlensError
from convlens.explorer.pages.channel_panels import draw_tuning
from convlens.explorer.photo_findings import diagnose_preprocessing, diagnosis_key
from convlens.explorer.photo_store import StoredPhoto
from convlens.explorer.rendering import FAST, describe_fault, session_of
from convlens.explorer.worker import StoppedError
from convlens.html.pictures import PictureBudget

Computed = TypeVar("Computed")

_INTERVAL = 0.2  # seconds between two events of progress
_SIDE = 224  # CSS pixels of a maximized image
_DREAM = 512  # CSS pixels of a dream, at most
_DREAM_BYTES = 8_000_000
_BYTES = 1_000_000


def stream_maximized(request: Request, objective: str) -> Response:
    """Events of the ascent of one objective; it stops when the browser closes the connection."""
    session = session_of(request)

    def show(computed: Any) -> str:
        maximum, reproduction = computed
        pixels = to_pixels(maximum.images[:1], session.model.bounds)[0].expand(-1, -1, 3)
        return _fill(
            request, "maximized.html.jinja",
            picture=PictureBudget(_BYTES).thumbnail(pixels.contiguous(), _SIDE),
            maximum=maximum, reproduction=reproduction,
        )  # fmt: skip

    return _stream(
        request, session.maximized_key(objective), lambda: session.maximized(objective), show
    )


def stream_tuning(request: Request, layer: str, channel: int) -> Response:
    """Events of the gratings shown to a layer; they stop when the browser closes the connection."""
    session = session_of(request)

    def show(computed: Any) -> str:
        tuning, reproduction = computed
        return _fill(
            request, "tuning.html.jinja", tuning=draw_tuning(tuning, channel),
            reproduction=reproduction,
        )  # fmt: skip

    return _stream(request, session.tuning_key(layer), lambda: session.tuning(layer), show)


def stream_dream(request: Request, photo: StoredPhoto, layer: str | None) -> Response:
    """Events of a dream; it stops when the browser closes the connection."""
    session = session_of(request)

    def show(computed: Any) -> str:
        dream, reproduction = computed
        pixels = to_pixels(dream.image[None], dream.bounds)[0].expand(-1, -1, 3).contiguous()
        picture = PictureBudget(_DREAM_BYTES, compression=FAST).photo(
            pixels, exact=True, side=_DREAM
        )
        return _fill(
            request, "dream.html.jinja", picture=picture, dream=dream, reproduction=reproduction
        )

    return _stream(
        request, session.dream_key(photo, layer), lambda: session.dream(photo, layer), show
    )


def stream_diagnosis(request: Request) -> Response:
    """Events of the check of the preprocessing."""
    session = session_of(request)

    def show(computed: Any) -> str:
        diagnosis, reproduction = computed
        return _fill(
            request, "diagnosis.html.jinja", diagnosis=diagnosis, reproduction=reproduction
        )

    return _stream(request, diagnosis_key(session), lambda: diagnose_preprocessing(session), show)


def _stream(
    request: Request,
    key: Hashable,
    work: Callable[[], Awaitable[Computed]],
    show: Callable[[Computed], str],
) -> Response:
    """Events of a computation.

    Args:
        request: the request.
        key: key of the computation in the worker.
        work: begins it, and waits for it.
        show: makes HTML of its result.
    """
    return StreamingResponse(
        _events(request, key, work, show), media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )  # fmt: skip


async def _events(
    request: Request,
    key: Hashable,
    work: Callable[[], Awaitable[Computed]],
    show: Callable[[Computed], str],
) -> AsyncIterator[str]:
    worker = session_of(request).worker
    task = asyncio.ensure_future(work())
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_INTERVAL)
            job = worker.find_job(key)
            done, total = job.progress or (0, 0) if job is not None else (0, 0)
            yield _event("progress", {"done": done, "total": total})
        try:
            text = await asyncio.to_thread(show, task.result())
        except ConvlensError as error:
            yield _event("failure", {"reason": str(error)})
        except StoppedError:
            pass
        except Exception as error:  # a fault of convlens itself; the stream ends as any other
            traceback.print_exception(error)
            yield _event("failure", {"reason": describe_fault(error)})
        else:
            yield _event("result", {"html": text})
    finally:
        task.cancel()


def _fill(request: Request, template: str, **values: Any) -> str:
    """A part of a page from a template."""
    return str(request.app.state.templates.get_template(template).render(**values))


def _event(kind: str, data: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"
