"""Exclusive use of a network: threads that use the same modules wait for one another.

Hooks, modes and frozen parameters belong to the modules, so two threads cannot use one network at
the same time. Threads with networks that share no module do not wait.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn

_released = threading.Condition()
_owners: dict[int, int] = {}  # the thread that uses a module, by the identity of the module


@contextmanager
def exclusive(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Run a block while no other thread uses one of its modules; wait until that is so.

    All modules are taken at once, so threads whose networks share modules do not block each other
    forever. A thread may nest blocks.

    Args:
        modules: all modules of a network.
    """
    by_identity = {id(module): module for module in modules}
    thread = threading.get_ident()
    with _released:
        _released.wait_for(lambda: all(_owners.get(key, thread) == thread for key in by_identity))
        newly_owned = [key for key in by_identity if key not in _owners]
        _owners.update(dict.fromkeys(newly_owned, thread))
    try:
        yield
    finally:
        with _released:
            for key in newly_owned:
                del _owners[key]
            _released.notify_all()
