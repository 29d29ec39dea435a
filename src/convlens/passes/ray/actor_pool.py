"""The actors of a sweep: given blocks, asked for their states, replaced when they die."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convlens.errors import ConvlensError
from convlens.passes.ray.planner import Layout
from convlens.passes.ray.worker import Worker, state_of, versions
from convlens.passes.reducer import State

_QUEUE = 2  # blocks that an actor has at a time: one in hand, one waiting
_LOOK = 1.0  # seconds after which to look whether to stop
_DEATHS = 3  # for each actor in a row, without a state from any


@dataclass(frozen=True)
class Handed:
    """What an actor handed over.

    Attributes:
        spans: the batches that its state has in it: stop by start.
        skipped: reason by number of the images in them that could not be read.
        state: of these batches.
        size: bytes of it.
    """

    spans: dict[int, int]
    skipped: dict[int, str]
    state: State
    size: int


@dataclass(eq=False)
class _Hand:
    """An actor, what it was asked and has not answered, and what it holds.

    Attributes:
        actor: its handle.
        opening: its answer to `open`, until it is ready.
        takes: its answers to `take`.
        over: its answer to `hand_over`, if it was asked.
        held: how many images it has taken in of each batch and not handed over, by their starts.
        taken: how many images it has taken in altogether.
        due: after how many it is to hand over next.
    """

    actor: Any
    opening: Any
    takes: list[Any] = field(default_factory=list)
    over: Any = None
    held: dict[int, int] = field(default_factory=dict)
    taken: int = 0
    due: float = 0.0

    def waiting(self) -> list[Any]:
        return [one for one in (self.opening, *self.takes, self.over) if one is not None]


class Crew:
    """The actors.

    Attributes:
        deaths: of actors since one handed something over.
    """

    def __init__(
        self,
        ray: Any,
        packed: Any,
        layout: Layout,
        device: str,
        *,
        portion: float,
        skipped: Callable[[dict[int, str]], None],
        stop: Callable[[], bool],
    ) -> None:
        """Start them.

        Args:
            ray: connected.
            packed: reference to model and work.
            layout: how many, with what.
            device: that they compute on.
            portion: images after which an actor hands its state over, again and again.
            skipped: told at once what could not be read.
            stop: whether to end early.
        """
        self._ray, self._packed, self._layout, self._device = ray, packed, layout, device
        self._portion, self._skipped, self._stop = portion, skipped, stop
        self._hands: list[_Hand] = []
        self.deaths = 0
        self._fill()

    @property
    def held(self) -> int:
        """Images that have been taken in and not handed over."""
        return sum(sum(hand.held.values()) for hand in self._hands)

    def give(self, block: Any) -> Generator[Handed | None]:
        """Give a block to an actor, as soon as one has room for it."""
        while not self._stop():
            free = [hand for hand in self._hands if not hand.opening and len(hand.takes) < _QUEUE]
            if free:
                hand = min(free, key=lambda one: len(one.takes))
                hand.takes.append(hand.actor.take.remote(block))
                yield from self._settle(0)
                return
            yield from self._settle(_LOOK)

    def gather(self) -> Generator[Handed | None]:
        """Let the actors finish what they have, and hand it over."""
        while True:
            for hand in self._hands:
                if not hand.takes and hand.held and hand.over is None:
                    hand.over = hand.actor.hand_over.remote()
            if not any(hand.takes or hand.over is not None for hand in self._hands):
                return
            yield from self._settle(_LOOK)

    def dismiss(self) -> None:
        """End all of them."""
        for hand in self._hands:
            self._ray.kill(hand.actor)
        self._hands = []

    def _settle(self, timeout: float) -> Generator[Handed | None]:
        """Take the answers that have come, waiting for one if there is none."""
        waiting = {ref: hand for hand in self._hands for ref in hand.waiting()}
        self._ray.wait(list(waiting), num_returns=1, timeout=timeout)
        come, _ = self._ray.wait(list(waiting), num_returns=len(waiting), timeout=0)
        for ref in come:
            hand = waiting[ref]
            if hand in self._hands:
                yield self._answer(hand, ref)

    def _answer(self, hand: _Hand, ref: Any) -> Handed | None:
        errors = self._ray.exceptions
        try:
            answer = self._ray.get(ref)
        except errors.RayActorError as error:
            self._bury(hand, error)
            return None
        except errors.RayTaskError as error:
            if isinstance(error.cause, ConvlensError):
                raise error.cause from None
            raise
        except errors.RayError as error:
            if ref in hand.takes:  # the block went with its machine, and is decoded again
                hand.takes.remove(ref)
            else:
                self._bury(hand, error)
            return None
        if ref is hand.opening:
            self._check(answer)
            hand.opening = None
        elif ref is hand.over:
            hand.over = None
            return self._handed(hand, *answer)
        else:
            hand.takes.remove(ref)
            for start, (stop, skipped) in answer.items():
                hand.held[start] = stop - start
                hand.taken += stop - start
                self._skipped(skipped)
            if hand.over is None and hand.taken >= hand.due:
                hand.due = (hand.taken // self._portion + 1) * self._portion
                hand.over = hand.actor.hand_over.remote()
        return None

    def _handed(
        self, hand: _Hand, spans: dict[int, int], skipped: dict[int, str], arrays: dict[str, Any]
    ) -> Handed:
        self.deaths = 0
        for start in spans:
            hand.held.pop(start, None)
        size = sum(array.nbytes for array in arrays.values())
        return Handed(spans, skipped, state_of(arrays), size)

    def _fill(self) -> None:
        """As many actors as the machines that are there have room for."""
        wanted = self._layout.wanted(self._ray)
        surplus = max(0, len(self._hands) - wanted)
        for hand in [one for one in self._hands if one.opening][:surplus]:
            self._ray.kill(hand.actor)
            self._hands.remove(hand)
        options = {"num_cpus": self._layout.cpus, "num_gpus": self._layout.gpus}
        start = self._ray.remote(Worker).options(max_restarts=0, max_task_retries=0, **options)
        while len(self._hands) < wanted:
            actor = start.remote()
            opening = actor.open.remote(
                self._packed, str(Path.cwd()), self._device, self._layout.threads
            )
            self._hands.append(_Hand(actor, opening, due=self._portion))

    def _bury(self, hand: _Hand, error: Exception) -> None:
        """Forget an actor, with all that it held, and start another."""
        self._hands.remove(hand)
        self._ray.kill(hand.actor)
        self.deaths += 1
        if self.deaths > _DEATHS * self._layout.actors:
            reason = " ".join(str(error).split())
            raise ConvlensError(
                f"{self.deaths} workers died one after the other and handed nothing over; "
                f"the last: {reason}"
            )
        self._fill()

    def _check(self, theirs: dict[str, str]) -> None:
        """See that an actor computes with what is installed here."""
        for name, ours in versions().items():
            if theirs[name] != ours:
                raise ConvlensError(
                    f"a machine of the cluster has {name} {theirs[name]}, this one {ours}; "
                    f"results are the same only with the same versions, so install one of them"
                )
