"""The actors of a pass: they are given blocks, send their states, and are replaced if they die."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convlens.errors import ConvlensError
from convlens.passes.ray.batch_actor import BatchActor, library_versions, to_state
from convlens.passes.ray.planner import Plan
from convlens.passes.reducer import State

_QUEUE = 2  # blocks that an actor has at a time: one that it processes, one that waits
_POLL_INTERVAL = 1.0  # seconds between two looks at `should_stop`
_DEATHS = 3  # for each actor, without a state from any of them; then the pass is given up


@dataclass(frozen=True)
class ActorResult:
    """The state that an actor has sent.

    Attributes:
        spans: the batches that the state contains: stop by start.
        skipped: the reason for each image in them that could not be read, by its number.
        state: the state of these batches.
        size: bytes of the state.
    """

    spans: dict[int, int]
    skipped: dict[int, str]
    state: State
    size: int


@dataclass(eq=False)
class _Actor:
    """An actor, the calls that it has not answered yet, and what it holds.

    Attributes:
        handle: Ray's handle of the actor.
        opening: pending call of `open`, until the actor is ready.
        processing: pending calls of `process_batches`.
        handover: pending call of `hand_over`, or None.
        held: number of images that it has processed and not sent, by the start of their batch.
        sent_early: starts of batches whose state arrived before the answer that they are processed.
        processed: number of images that it has processed altogether.
        next_handover: number of processed images after which it sends its state next.
    """

    handle: Any
    opening: Any
    processing: list[Any] = field(default_factory=list)
    handover: Any = None
    held: dict[int, int] = field(default_factory=dict)
    sent_early: set[int] = field(default_factory=set)
    processed: int = 0
    next_handover: float = 0.0

    def pending(self) -> list[Any]:
        calls = (self.opening, *self.processing, self.handover)
        return [call for call in calls if call is not None]


class ActorPool:
    """The actors of one job.

    Attributes:
        deaths: number of actors that have died since one of them sent a state.
    """

    def __init__(
        self,
        ray: Any,
        packed: Any,
        plan: Plan,
        device: str,
        *,
        handover_interval: float,
        check_skipped: Callable[[dict[int, str]], None],
        should_stop: Callable[[], bool],
    ) -> None:
        """Start the actors.

        Args:
            ray: the module, connected to a cluster.
            packed: reference to the packed model and work.
            plan: how many actors, with how many CPUs, GPUs and threads.
            device: the device that they compute on.
            handover_interval: number of images after which an actor sends its state.
            check_skipped: called at once with the images that could not be read.
            should_stop: whether to stop early.
        """
        self._ray, self._packed, self._plan, self._device = ray, packed, plan, device
        self._handover_interval = handover_interval
        self._check_skipped, self._should_stop = check_skipped, should_stop
        self._actors: list[_Actor] = []
        self.deaths = 0
        self._start_actors()

    @property
    def held(self) -> int:
        """The number of images that have been processed and not sent."""
        return sum(sum(actor.held.values()) for actor in self._actors)

    def submit(self, block: Any) -> Generator[ActorResult | None]:
        """Give a block to an actor as soon as one has room for it; yield what arrives meanwhile."""
        while not self._should_stop():
            free = [
                actor
                for actor in self._actors
                if not actor.opening and len(actor.processing) < _QUEUE
            ]
            if free:
                actor = min(free, key=lambda candidate: len(candidate.processing))
                actor.processing.append(actor.handle.process_batches.remote(block))
                yield from self._receive(0)
                return
            yield from self._receive(_POLL_INTERVAL)

    def drain(self) -> Generator[ActorResult | None]:
        """Let the actors finish their blocks and send their states; yield what arrives."""
        while True:
            for actor in self._actors:
                if not actor.processing and actor.held and actor.handover is None:
                    actor.handover = actor.handle.hand_over.remote()
            if not any(actor.processing or actor.handover is not None for actor in self._actors):
                return
            yield from self._receive(_POLL_INTERVAL)

    def shutdown(self) -> None:
        """End all actors."""
        for actor in self._actors:
            self._ray.kill(actor.handle)
        self._actors = []

    def _receive(self, timeout: float) -> Generator[ActorResult | None]:
        """Take the answers that have arrived; wait for one if there is none."""
        pending = {call: actor for actor in self._actors for call in actor.pending()}
        self._ray.wait(list(pending), num_returns=1, timeout=timeout)
        answered, _ = self._ray.wait(list(pending), num_returns=len(pending), timeout=0)
        for call in answered:
            actor = pending[call]
            if actor in self._actors:
                yield self._handle_answer(actor, call)

    def _handle_answer(self, actor: _Actor, call: Any) -> ActorResult | None:
        errors = self._ray.exceptions
        try:
            answer = self._ray.get(call)
        except errors.RayActorError as error:
            self._replace(actor, error)
            return None
        except errors.RayTaskError as error:
            if isinstance(error.cause, ConvlensError):
                raise error.cause from None
            raise
        except errors.RayError as error:
            if call in actor.processing:  # the block was lost with a machine: decoded again later
                actor.processing.remove(call)
            else:
                self._replace(actor, error)
            return None
        if call is actor.opening:
            _check_versions(answer)
            actor.opening = None
        elif call is actor.handover:
            actor.handover = None
            return self._receive_state(actor, *answer)
        else:
            actor.processing.remove(call)
            self._count_processed(actor, answer)
        return None

    def _count_processed(
        self, actor: _Actor, batches: dict[int, tuple[int, dict[int, str]]]
    ) -> None:
        """Count batches that an actor has processed, and ask for its state after enough of them."""
        for start, (stop, skipped) in batches.items():
            if start in actor.sent_early:
                actor.sent_early.remove(start)
            else:
                actor.held[start] = stop - start
            actor.processed += stop - start
            self._check_skipped(skipped)
        if actor.handover is None and actor.processed >= actor.next_handover:
            intervals = actor.processed // self._handover_interval
            actor.next_handover = (intervals + 1) * self._handover_interval
            actor.handover = actor.handle.hand_over.remote()

    def _receive_state(
        self,
        actor: _Actor,
        spans: dict[int, int],
        skipped: dict[int, str],
        arrays: dict[str, Any],
    ) -> ActorResult:
        self.deaths = 0
        # Answers may arrive in another order than an actor gave them.
        for start in spans:
            if actor.held.pop(start, None) is None:
                actor.sent_early.add(start)
        size = sum(array.nbytes for array in arrays.values())
        return ActorResult(spans, skipped, to_state(arrays), size)

    def _start_actors(self) -> None:
        """Start as many actors as the machines that are there have room for."""
        count = self._plan.count_that_fit(self._ray)
        surplus = max(0, len(self._actors) - count)
        for actor in [actor for actor in self._actors if actor.opening][:surplus]:
            self._ray.kill(actor.handle)
            self._actors.remove(actor)
        options = {"num_cpus": self._plan.cpus, "num_gpus": self._plan.gpus}
        start = self._ray.remote(BatchActor).options(max_restarts=0, max_task_retries=0, **options)
        while len(self._actors) < count:
            handle = start.remote()
            opening = handle.open.remote(
                self._packed, str(Path.cwd()), self._device, self._plan.threads
            )
            self._actors.append(_Actor(handle, opening, next_handover=self._handover_interval))

    def _replace(self, actor: _Actor, error: Exception) -> None:
        """Drop an actor that has died, with everything that it held, and start another."""
        self._actors.remove(actor)
        self._ray.kill(actor.handle)
        self.deaths += 1
        if self.deaths > _DEATHS * self._plan.actors:
            reason = " ".join(str(error).split())
            raise ConvlensError(
                f"{self.deaths} workers died one after the other and sent no results; "
                f"the last one: {reason}"
            )
        self._start_actors()


def _check_versions(actor_versions: dict[str, str]) -> None:
    """Raise if an actor computes with other versions than those that are installed here."""
    for name, ours in library_versions().items():
        if actor_versions[name] != ours:
            raise ConvlensError(
                f"a machine of the cluster has {name} {actor_versions[name]}, this one {ours}; "
                f"results are the same only with the same versions, so install one of them"
            )
