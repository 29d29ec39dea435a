"""The Ray engine: a pass by processes on one machine or on a cluster.

    photos ──decode, by Ray Data──▶ pixels of a batch ──process, by an actor──▶ the actor's state
                                                                                      │
    the state of all ◀──merge, in this process──────────────── several times a pass ──┘

An actor holds the network and a state of its own. A batch is finished when this process has
received a state that contains it. A state travels together with the list of its batches, and a
batch that has been received is not accepted again. So no batch is lost or counted twice when a
process dies: batches that no state has brought by the end of a round are processed in the next.
"""

import logging
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from convlens.data.datasets.arrow_batches import RayBatchDecoder
from convlens.errors import ConvlensError, PhotoError
from convlens.passes.job import FinishedBatches, PassJob
from convlens.passes.ray.actor_pool import ActorPool, ActorResult
from convlens.passes.ray.packing import pack
from convlens.passes.ray.planner import DECODER_CPUS, Plan, make_plan
from convlens.passes.ray.session import ray_session
from convlens.passes.source import Source

_BLOCKS_PER_ACTOR = 64  # at least, so that all actors are busy to the end
_FRUITLESS_ROUNDS = 3  # rounds in a row without a state; after them the pass is given up
_BATCHES_PER_BLOCK = 16  # at most, because decoded blocks that wait for an actor take memory


@dataclass(frozen=True)
class RayEngine:
    """Runs a pass with Ray, which the extra `convlens[ray]` installs.

    Attributes:
        address: address of a running cluster as `ray.init` takes it (`auto`, `HOST:6379`). Default:
            the Ray session that this process is connected to, else `RAY_ADDRESS`, else a session on
            this machine that lasts as long as the pass.
        actors: number of processes that hold the network, at most one for each CPU. Default: as
            many as there are CPUs for their threads, or one for each GPU if the network runs on
            GPUs.
        threads: number of threads that each actor computes with. Default: as many as this process
            uses, so that small batches come out the same to the last bit.
        device: `cpu` or `cuda`. Default: the device of the model.
        block: number of batches that are decoded in one task. Default: 1 to 16, by the number of
            batches.
        handovers: how often each actor sends its state in the course of a pass. If an actor dies,
            about one part in `handovers` of its share is processed again. Default: 16.

    Raises:
        ConvlensError: if a number is less than 1, or the device is another one.

    Example:
        >>> import convlens
        >>> convlens.PassOptions(engine=convlens.RayEngine(actors=2)).engine.actors
        2
    """

    address: str | None = None
    actors: int | None = None
    threads: int | None = None
    device: str | None = None
    block: int | None = None
    handovers: int = 16

    def __post_init__(self) -> None:
        for name in ("actors", "threads", "block", "handovers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConvlensError(f"{name} {value}; give at least 1")
        if self.device not in (None, "cpu", "cuda"):
            raise ConvlensError(f"device {self.device!r} for Ray; give cpu or cuda")

    def open(self) -> AbstractContextManager[object]:
        """Connect to Ray until the context is left.

        Raises:
            ConvlensError: if Ray is not installed, or there is no cluster.
        """
        return ray_session(self.address)

    def run(self, job: PassJob) -> Generator[FinishedBatches]:
        """Yield the batches of each state that an actor sends.

        Raises:
            ConvlensError: if Ray is not installed, there is no cluster, the cluster lacks CPUs or
                GPUs, workers keep dying, or only this machine can read a photo.
        """
        device = self.device or job.model.device.type
        with ray_session(self.address) as ray:
            plan = make_plan(
                ray, self.actors, self.threads or torch.get_num_threads(), gpu=device != "cpu"
            )
            images = sum(stop - start for start, stop in job.spans)
            pool = ActorPool(
                ray, pack(ray, job.model, job.work), plan, device,
                handover_interval=images / (plan.actors * self.handovers),
                check_skipped=partial(_check_skipped, job.source), should_stop=job.should_stop,
            )  # fmt: skip
            try:
                yield from self._run_rounds(ray, job, pool, plan)
            finally:
                pool.shutdown()

    def _run_rounds(
        self, ray: Any, job: PassJob, pool: ActorPool, plan: Plan
    ) -> Generator[FinishedBatches]:
        remaining, state, num_processed = dict(job.spans), job.state, 0
        fruitless = 0
        while remaining and not job.should_stop():
            num_before, deaths = len(remaining), pool.deaths
            with closing(
                self._run_round(ray, job, pool, plan, sorted(remaining.items()))
            ) as results:
                for result in results:
                    if result is not None and all(start in remaining for start in result.spans):
                        state = job.work.merge(state, result.state)
                        for start in result.spans:
                            num_processed += remaining.pop(start) - start
                        spans = list(result.spans.items())
                        yield FinishedBatches(spans, result.skipped, state, result.size)
                    job.report_progress(num_processed + pool.held)
            if len(remaining) < num_before:
                fruitless = 0
            elif pool.deaths == deaths:  # if workers die, the pool raises with the reason
                fruitless += 1
            if fruitless == _FRUITLESS_ROUNDS and not job.should_stop():
                raise ConvlensError(
                    f"no worker returned a result for {len(remaining):,} batches in "
                    f"{_FRUITLESS_ROUNDS} rounds; check that the cluster still runs (`ray status`)"
                )

    def _run_round(
        self, ray: Any, job: PassJob, pool: ActorPool, plan: Plan, spans: list[tuple[int, int]]
    ) -> Generator[ActorResult | None]:
        """Process some batches once: yield results of actors, and None for any other event."""
        with closing(self._decode_blocks(ray, job.source, plan, spans)) as blocks:
            for block in blocks:
                yield from pool.submit(block)
                if job.should_stop():
                    break
        yield from pool.drain()

    def _decode_blocks(
        self, ray: Any, source: Source, plan: Plan, spans: list[tuple[int, int]]
    ) -> Generator[Any]:
        """References to decoded batches, in the order in which they are finished."""
        size = self.block or max(
            1, min(_BATCHES_PER_BLOCK, len(spans) // (plan.actors * _BLOCKS_PER_ACTOR))
        )
        portable = ray.put(source.batch_decoder())
        count = -(-len(spans) // size)
        context = ray.data.DataContext.get_current()
        bars, context.enable_progress_bars = context.enable_progress_bars, False
        try:
            rows = ray.data.from_items(
                [{"start": start, "stop": stop} for start, stop in spans],
                override_num_blocks=count,
            )
            decoded = rows.map_batches(
                RayBatchDecoder, fn_constructor_args=([portable], str(Path.cwd())),
                batch_size=None, batch_format="pyarrow", num_cpus=DECODER_CPUS,
                concurrency=min(plan.decoders, count),
            )  # fmt: skip
            bundles: Iterator[Any] = decoded.iter_internal_ref_bundles()
            for bundle in bundles:
                yield from bundle.block_refs
        except ray.exceptions.RayTaskError:
            raise
        except ray.exceptions.RayError as error:  # a machine was lost, and blocks with it
            if "No module named 'convlens'" in str(error):
                raise ConvlensError(
                    "convlens is not installed in the Python of every machine of the cluster; "
                    "install it there, and start Ray with that Python"
                ) from error
            logging.getLogger(__name__).info("a round ended early: %s", error)
        finally:
            context.enable_progress_bars = bars


def _check_skipped(source: Source, skipped: dict[int, str]) -> None:
    """Raise if a photo that another process could not read can be read in this one."""
    for number, reason in skipped.items():
        if source.strict:
            raise PhotoError(reason)
        if not source.batch_decoder().decode(number, number + 1).skipped:
            raise ConvlensError(
                f"{source.name(number)} can be read here, and not where it was to be decoded "
                f"({reason}); put the photos where all machines see them under the same path"
            )
