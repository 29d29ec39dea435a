"""Maximized images as server-sent events: progress, and at the end the image as HTML."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from convlens.data.images import to_pixels
from convlens.errors import ConvlensError
from convlens.explorer.rendering import session_of
from convlens.explorer.worker import StoppedError
from convlens.html.pictures import PictureBudget

_INTERVAL = 0.2  # seconds between two events of progress
_SIDE = 224  # CSS pixels of the image
_BYTES = 1_000_000


def stream_maximized(request: Request, objective: str) -> Response:
    """Events of the ascent of one objective; it stops when the browser closes the connection."""
    return StreamingResponse(
        _events(request, objective), media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )  # fmt: skip


async def _events(request: Request, objective: str) -> AsyncIterator[str]:
    session = session_of(request)
    task = asyncio.ensure_future(session.maximized(objective))
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_INTERVAL)
            job = session.worker.find_job(session.maximized_key(objective))
            done, total = job.progress or (0, 0) if job is not None else (0, 0)
            yield _event("progress", {"done": done, "total": total})
        try:
            maximum, reproduction = task.result()
        except ConvlensError as error:
            yield _event("failure", {"reason": str(error)})
            return
        except StoppedError:
            return
        pixels = to_pixels(maximum.images[:1], session.model.bounds)[0].expand(-1, -1, 3)
        html = request.app.state.templates.get_template("maximized.html.jinja").render(
            picture=PictureBudget(_BYTES).thumbnail(pixels.contiguous(), _SIDE),
            maximum=maximum, reproduction=reproduction,
        )  # fmt: skip
        yield _event("result", {"html": html})
    finally:
        task.cancel()


def _event(kind: str, data: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"
