"""The plan of a job on a cluster: how many processes of which kind."""

from dataclasses import dataclass
from typing import Any

from convlens.errors import ConvlensError

# What a decoding process reserves: next to nothing, so that every machine has room for one.
DECODER_CPUS = 0.01

_ACTORS_SHARE = 0.75  # of the CPUs; the rest is left to decode


@dataclass(frozen=True)
class Plan:
    """The processes that run beside each other.

    Actors reserve at most three quarters of the CPUs and decoding processes nearly none. So neither
    kind can block the other, wherever Ray places them and whichever machine is lost.

    Attributes:
        actors: number of actors, which hold the network.
        cpus: CPUs that each actor reserves.
        gpus: GPUs that each actor reserves.
        threads: number of threads that each actor computes with.
        decoders: number of processes that decode photos.
    """

    actors: int
    cpus: float
    gpus: int
    threads: int
    decoders: int

    def count_that_fit(self, ray: Any) -> int:
        """The number of actors that the machines that are there now have room for, at least 1."""
        cpus, gpus = _count_resources(ray)
        room = int(_ACTORS_SHARE * sum(cpus) / self.cpus + 1e-6)
        return max(1, min(self.actors, room, int(sum(gpus)) if self.gpus else room))


def make_plan(ray: Any, actors: int | None, threads: int, *, gpu: bool) -> Plan:
    """Plan the processes for the machines that are there now.

    Args:
        ray: the module, connected to a cluster.
        actors: number of actors, or None for as many as fit.
        threads: number of threads for each actor, if a machine has that many CPUs.
        gpu: whether each actor needs a GPU.

    Raises:
        ConvlensError: if the cluster has no CPUs, or fewer CPUs or GPUs than actors.
    """
    cpus, gpus = _count_resources(ray)
    if not sum(cpus):
        raise ConvlensError("the cluster has no CPUs; add a machine by `ray start`")
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
    count = actors or int(sum(gpus) if gpu else sum(machine // threads for machine in cpus)) or 1
    share = int(_ACTORS_SHARE * min(threads, sum(cpus) / count, max(cpus)) * 1000) / 1000
    return Plan(
        actors=count,
        cpus=share,
        gpus=int(gpu),
        threads=threads,
        decoders=max(1, int(sum(cpus))),
    )


def _count_resources(ray: Any) -> tuple[list[float], list[float]]:
    """The CPUs and the GPUs of each machine that is alive."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return (
        [machine.get("CPU", 0.0) for machine in machines],
        [machine.get("GPU", 0.0) for machine in machines],
    )
