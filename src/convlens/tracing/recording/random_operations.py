"""Operations by which a network draws random numbers, also in evaluation mode."""

from convlens.tracing.recording.ancestors import find_ancestors
from convlens.tracing.recording.recording import Recording

_RANDOM = frozenset({
    "bernoulli", "cauchy", "dropout", "exponential", "geometric", "log_normal", "multinomial",
    "native_dropout", "normal", "poisson", "rand", "rand_like", "randint", "randint_like", "randn",
    "randn_like", "random", "randperm", "uniform",
})  # fmt: skip


def find_random_operations(recording: Recording) -> tuple[str, ...]:
    """The names of random operations from whose results the outputs are computed.

    Args:
        recording: of the network in evaluation mode, in which ordinary dropout draws nothing.
    """
    names = [
        operation.name
        for operation in find_ancestors(recording.operations, [recording.output])
        if operation.name in _RANDOM and operation.arguments.get("train", True)
    ]
    return tuple(dict.fromkeys(reversed(names)))
