"""Long computations as server-sent events: progress, and each result as HTML when it is there."""

import asyncio
import json
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from convlens.errors import ConvlensError
from convlens.explorer.rendering import describe_fault, session_of
from convlens.explorer.worker import StoppedError
from convlens.html.pictures import Picture

_INTERVAL = 0.2  # seconds between two events of progress


@dataclass(frozen=True)
class Computation:
    """What a page waits for while it is open.

    Attributes:
        key: its key in the worker.
        work: begins it, and waits for it.
        show: makes HTML of its result.
        description: what is computed, in words; empty where the page says so.
        draw: draws what is not finished yet. Default: nothing of it is shown.
    """

    key: Hashable
    work: Callable[[], Awaitable[Any]]
    show: Callable[[Any], str]
    description: str = ""
    draw: Callable[[Any], Picture | None] | None = None


def stream(request: Request, computation: Computation) -> Response:
    """Events of one computation: `progress`, `preview`, and at the end `result` or `failure`.

    It stops when the browser closes the connection.
    """

    async def write() -> AsyncIterator[str]:
        async for kind, data in _run(request, computation):
            yield _event(kind, data)

    return _respond(write())


def stream_parts(request: Request, computations: Sequence[Computation]) -> Response:
    """Events of several computations, one after the other: `progress`, and `part` for each result.

    A computation that fails has its reason as result; `end` comes last. What is left stops when the
    browser closes the connection.
    """

    async def write() -> AsyncIterator[str]:
        for computation in computations:
            async for kind, data in _run(request, computation):
                if kind == "failure":
                    reason = f"{computation.description}: {data['reason']}"
                    html = fill_template(request, "failed_part.html.jinja", reason=reason)
                    yield _event("part", {"html": html})
                else:
                    yield _event("part" if kind == "result" else kind, data)
        yield _event("end", {})

    return _respond(write())


def fill_template(request: Request, template: str, **values: Any) -> str:
    """A part of a page from a template."""
    return str(request.app.state.templates.get_template(template).render(**values))


def _respond(events: AsyncIterator[str]) -> Response:
    return StreamingResponse(
        events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


async def _run(
    request: Request, computation: Computation
) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """The kinds and the data of the events of a computation."""
    worker = session_of(request).worker
    task = asyncio.ensure_future(computation.work())
    drawn = None
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_INTERVAL)
            job = worker.find_job(computation.key)
            done, total = job.progress or (0, 0) if job is not None else (0, 0)
            yield "progress", {"done": done, "total": total, "what": computation.description}
            preview = job.preview if job is not None else None
            if computation.draw is not None and preview is not None and preview is not drawn:
                drawn = preview
                picture = await asyncio.to_thread(computation.draw, preview)
                if picture is not None:
                    yield "preview", vars(picture)
        try:
            text = await asyncio.to_thread(computation.show, task.result())
        except ConvlensError as error:
            yield "failure", {"reason": str(error)}
        except StoppedError:
            pass
        except Exception as error:  # a fault of convlens itself; the stream ends as any other
            traceback.print_exception(error)
            yield "failure", {"reason": describe_fault(error)}
        else:
            yield "result", {"html": text}
    finally:
        task.cancel()


def _event(kind: str, data: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"
