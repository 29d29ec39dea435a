"""How many processes of which kind a cluster takes."""

from dataclasses import dataclass
from typing import Any

from convlens.errors import ConvlensError

DECODER_CPUS = 0.01  # in Ray's books: next to nothing, so that one finds room wherever it is

_SHARE = 0.75  # of the CPUs, for actors; the rest is left to decode


@dataclass(frozen=True)
class Layout:
    """What runs beside each other.

    Actors have three quarters of the CPUs at most, and those that decode nearly nothing in Ray's
    books. So neither can wait for the other without end, wherever they come to lie and whichever
    machine goes.

    Attributes:
        actors: that hold the network.
        cpus: of each, as Ray counts them.
        gpus: likewise.
        threads: that each computes with.
        decoders: processes that decode.
    """

    actors: int
    cpus: float
    gpus: int
    threads: int
    decoders: int

    def wanted(self, ray: Any) -> int:
        """How many of the actors the machines that are there now have room for, at least 1."""
        cpus, gpus = _machines(ray)
        room = int(_SHARE * sum(cpus) / self.cpus + 1e-6)
        return max(1, min(self.actors, room, int(sum(gpus)) if self.gpus else room))


def layout(ray: Any, actors: int | None, threads: int, *, gpu: bool) -> Layout:
    """For the machines that are there now.

    Args:
        ray: connected.
        actors: how many are asked for, or None.
        threads: that each is to compute with, where a machine has as many CPUs.
        gpu: whether each needs a GPU.

    Raises:
        ConvlensError: there are no CPUs, or fewer of them, or of GPUs, than actors.
    """
    cpus, gpus = _machines(ray)
    if not sum(cpus):
        raise ConvlensError("the cluster has no CPUs; join a machine with `ray start`")
    if gpu and (actors or 1) > sum(gpus):
        raise ConvlensError(
            f"{actors or 1} actors on GPUs, of which the cluster has {sum(gpus):g}; each needs "
            f"one: give fewer, or --device cpu"
        )
    if not gpu and (actors or 1) > max(1, sum(cpus)):
        raise ConvlensError(
            f"{actors} actors, and the cluster has {sum(cpus):g} CPUs; give at most one for each"
        )
    threads = min(threads, int(max(cpus)) or 1)
    count = actors or int(sum(gpus) if gpu else sum(one // threads for one in cpus)) or 1
    share = int(_SHARE * min(threads, sum(cpus) / count, max(cpus)) * 1000) / 1000
    return Layout(
        actors=count,
        cpus=share,
        gpus=int(gpu),
        threads=threads,
        decoders=max(1, int(sum(cpus))),
    )


def _machines(ray: Any) -> tuple[list[float], list[float]]:
    """CPUs and GPUs of each machine that is alive."""
    found = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [one.get("CPU", 0.0) for one in found], [one.get("GPU", 0.0) for one in found]
