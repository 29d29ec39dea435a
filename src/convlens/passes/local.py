"""The local engine: one batch after the other in this process."""

from collections.abc import Generator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass

from convlens.capture.folded_networks import keep_folded_networks
from convlens.passes.job import FinishedBatches, PassJob
from convlens.runtime.guard import preserve_network
from convlens.runtime.precision import full_precision


@dataclass(frozen=True)
class LocalEngine:
    """Runs a job in this process, one batch after the other; photos are decoded ahead."""

    def open(self) -> AbstractContextManager[object]:
        """Start nothing: the local engine needs nothing."""
        return nullcontext()

    def run(self, job: PassJob) -> Generator[FinishedBatches]:
        """Yield after each batch; the state is one and the same, changed in place."""
        count = 0
        # One guard for all batches, because entering the guard takes time.
        with (
            preserve_network(job.model.network),
            full_precision(),
            keep_folded_networks(),
            closing(job.source.batches(job.spans)) as batches,
        ):
            for batch in batches:
                if batch.images is not None:
                    job.work.process_batch(job.state, batch.images, batch.ids)
                count += batch.stop - batch.start
                job.report_progress(count)
                yield FinishedBatches([(batch.start, batch.stop)], batch.skipped, job.state)
                if job.should_stop():
                    return
