"""Threads of OpenMP that sleep while they wait, instead of keeping a core busy.

PyTorch computes with the threads of OpenMP. While these wait for work they spin: they ask again and
again whether there is some. Beside other processes this slows everything down. Thirty Grad-CAMs
with two threads on two cores take 0.8 s on a quiet machine and 6.1 s beside four busy processes;
with `GOMP_SPINCOUNT=10000`, after which a waiting thread sleeps, they take 0.8 s and 3.3 s.

OpenMP reads the variable when torch is imported. The command line, the tests, the benchmarks and
worker processes set it before. A program that imports convlens sets it itself:

    import os
    os.environ["GOMP_SPINCOUNT"] = "10000"  # before torch is imported
    import convlens
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_SPIN_COUNT = "GOMP_SPINCOUNT"
_SETTINGS = (_SPIN_COUNT, "OMP_WAIT_POLICY")  # a user who has set one of them has decided


def limit_spinning() -> None:
    """Let waiting threads of OpenMP sleep soon, unless the user has decided otherwise.

    It sets `GOMP_SPINCOUNT=10000` in the environment of this process, and so of the processes that
    it starts. It has an effect on this process only before torch is imported. Where the user has
    set `GOMP_SPINCOUNT` or `OMP_WAIT_POLICY`, nothing changes.
    """
    if not any(name in os.environ for name in _SETTINGS):
        os.environ[_SPIN_COUNT] = "10000"


@contextmanager
def children_limit_spinning() -> Iterator[None]:
    """Call `limit_spinning` for the processes that are started inside the context.

    The environment of this process is restored when the context is left.
    """
    before = os.environ.get(_SPIN_COUNT)
    limit_spinning()
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_SPIN_COUNT, None)
