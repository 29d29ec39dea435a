"""`python -m benchmarks [NAME ...]`: the benchmarks named, or all of them."""

import sys
from importlib import import_module

from convlens.errors import suggest
from convlens.runtime.threads import limit_spinning

NAMES = (
    "gradcam", "fgsm", "shift", "patches", "maximize", "dream", "gabor", "throughput", "resume",
    "engine", "scale",
    "accuracy",
)  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run the benchmarks named; 0, or 2 for a name that none has."""
    limit_spinning()  # before a benchmark imports torch
    for name in arguments:
        if name not in NAMES:
            close = suggest(name, NAMES) or f"; there are: {', '.join(NAMES)}"
            print(f"no benchmark is called {name!r}{close}", file=sys.stderr)
            return 2
    for name in dict.fromkeys(arguments or NAMES):
        import_module(f"benchmarks.{name}").run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
