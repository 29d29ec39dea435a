"""The local engine: one batch after the other in this process."""

from collections.abc import Generator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass

from convlens.passes.job import Job, Part
from convlens.runtime.guard import untouched
from convlens.runtime.precision import full_precision


@dataclass(frozen=True)
class Local:
    """The engine on this machine: one batch after the other, photos decoded ahead."""

    def open(self) -> AbstractContextManager[object]:
        """Nothing has to be started."""
        return nullcontext()

    def run(self, job: Job) -> Generator[Part]:
        """A part a batch; the state is one and the same, changed in place."""
        count = 0
        # Guarded once for all batches, as the guard has something to do each time.
        with (
            untouched(job.model.network),
            full_precision(),
            closing(job.source.batches(job.spans)) as batches,
        ):
            for one in batches:
                if one.images is not None:
                    job.work.take(job.state, one.images, one.ids)
                count += one.stop - one.start
                job.seen(count)
                yield Part([(one.start, one.stop)], one.skipped, job.state)
                if job.stop():
                    return
