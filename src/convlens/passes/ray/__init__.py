"""The engine on Ray: the same work, by processes on one machine or on many.

    photos ──decode, by Ray Data───────────▶ pixels of a batch ──take, by an actor──▶ its state
                                                                                        │
    the state of all ◀──merge, here──────────────────────────────── now and then ───────┘

An actor holds the network and a state of its own. A batch counts when the state that has it in it
has come here; state and list of batches travel together, and what is in two lists is not taken
twice. So nothing is lost or counted twice, whatever dies on the way: batches that no state has
brought by the end of a round are done in the next.
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
from convlens.passes.job import Job, Part
from convlens.passes.ray.actor_pool import Crew, Handed
from convlens.passes.ray.packing import packed
from convlens.passes.ray.planner import DECODER_CPUS, Layout, layout
from convlens.passes.ray.session import session
from convlens.passes.source import Source

_BLOCKS = 64  # for each actor at least, so that all are busy to the end
_ROUNDS = 3  # in a row that brought nothing: then nothing will
_BATCHES = 16  # in a block at most: what is decoded and not yet taken lies in memory


@dataclass(frozen=True)
class Ray:
    """The engine on Ray, which the extra `convlens[ray]` installs.

    Attributes:
        address: of a cluster that runs, as `ray.init` takes it (`auto`, `HOST:6379`). Default: a
            session of Ray that the process is in already, then `RAY_ADDRESS`, then this machine
            alone, started for the time of the sweep.
        actors: processes that hold the network, at most one for each CPU. Default: as many as
            there are CPUs for their threads, or one for each GPU if the network runs on GPUs.
        threads: that each computes with. Default: as many as this process does, so that small
            batches come out the same to the last bit.
        device: `cpu` or `cuda`. Default: where the model is.
        block: batches that are decoded in one task. Default: 1 to 16, by the number of batches.
        handovers: how often each actor sends its state, however many photos there are. What dies
            with an actor is done again, about one part in so many of its share.
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
            raise ConvlensError(f"device {self.device!r} for Ray; it is cpu or cuda")

    def open(self) -> AbstractContextManager[object]:
        """A session of Ray.

        Raises:
            ConvlensError: Ray is not installed or not there.
        """
        return session(self.address)

    def run(self, job: Job) -> Generator[Part]:
        """A part for each state that an actor sends.

        Raises:
            ConvlensError: Ray is not installed or not there, a cluster without what is asked for,
                workers that keep dying, a photo that only this machine can read.
        """
        device = self.device or job.model.device.type
        with session(self.address) as ray:
            laid = layout(
                ray, self.actors, self.threads or torch.get_num_threads(), gpu=device != "cpu"
            )
            portion = sum(stop - start for start, stop in job.spans)
            crew = Crew(
                ray, packed(ray, job.model, job.work), laid, device,
                portion=portion / (laid.actors * self.handovers),
                skipped=partial(_check, job.source), stop=job.stop,
            )  # fmt: skip
            try:
                yield from self._rounds(ray, job, crew, laid)
            finally:
                crew.dismiss()

    def _rounds(self, ray: Any, job: Job, crew: Crew, laid: Layout) -> Generator[Part]:
        left, state, done = dict(job.spans), job.state, 0
        fruitless = 0
        while left and not job.stop():
            before, deaths = len(left), crew.deaths
            with closing(self._round(ray, job, crew, laid, sorted(left.items()))) as round_:
                for handed in round_:
                    if handed is not None and all(start in left for start in handed.spans):
                        state = job.work.merge(state, handed.state)
                        for start in handed.spans:
                            done += left.pop(start) - start
                        spans = list(handed.spans.items())
                        yield Part(spans, handed.skipped, state, handed.size)
                    job.seen(done + crew.held)
            if len(left) < before:
                fruitless = 0
            elif crew.deaths == deaths:  # where workers die the crew ends it, with the reason
                fruitless += 1
            if fruitless == _ROUNDS and not job.stop():
                raise ConvlensError(
                    f"{len(left):,} batches came back from none of {_ROUNDS} rounds; see whether "
                    f"the cluster is still there (`ray status`)"
                )

    def _round(
        self, ray: Any, job: Job, crew: Crew, laid: Layout, spans: list[tuple[int, int]]
    ) -> Generator[Handed | None]:
        """Once over some batches: what actors hand over, and None whenever something happened."""
        with closing(self._blocks(ray, job.source, laid, spans)) as blocks:
            for block in blocks:
                yield from crew.give(block)
                if job.stop():
                    break
        yield from crew.gather()

    def _blocks(
        self, ray: Any, source: Source, laid: Layout, spans: list[tuple[int, int]]
    ) -> Generator[Any]:
        """References to decoded batches, in whatever order they get done."""
        size = self.block or max(1, min(_BATCHES, len(spans) // (laid.actors * _BLOCKS)))
        sent = ray.put(source.batch_decoder())
        count = -(-len(spans) // size)
        context = ray.data.DataContext.get_current()
        bars, context.enable_progress_bars = context.enable_progress_bars, False
        try:
            rows = ray.data.from_items(
                [{"start": start, "stop": stop} for start, stop in spans],
                override_num_blocks=count,
            )
            decoded = rows.map_batches(
                RayBatchDecoder, fn_constructor_args=([sent], str(Path.cwd())),
                batch_size=None, batch_format="pyarrow", num_cpus=DECODER_CPUS,
                concurrency=min(laid.decoders, count),
            )  # fmt: skip
            bundles: Iterator[Any] = decoded.iter_internal_ref_bundles()
            for bundle in bundles:
                yield from bundle.block_refs
        except ray.exceptions.RayTaskError:
            raise
        except ray.exceptions.RayError as error:  # machines went, and blocks with them
            if "No module named 'convlens'" in str(error):
                raise ConvlensError(
                    "convlens is not installed in the Python of every machine of the cluster; "
                    "install it there, and start Ray with that Python"
                ) from error
            logging.getLogger(__name__).info("a round ended early: %s", error)
        finally:
            context.enable_progress_bars = bars


def _check(source: Source, skipped: dict[int, str]) -> None:
    """See that photos that another process cannot read cannot be read at all."""
    for number, reason in skipped.items():
        if source.strict:
            raise PhotoError(reason)
        if not source.batch_decoder().decode(number, number + 1).skipped:
            raise ConvlensError(
                f"{source.name(number)} can be read here, and not where it was to be decoded "
                f"({reason}); put the photos where all machines see them under the same path"
            )
