"""The command `python -m benchmarks`: run the benchmarks, or those named, or list them.

Several benchmarks run each in a process of its own, so that none sees the memory and the settings
that another has left, and one that fails does not stop the others.
"""

import argparse
import ast
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

from convlens.errors import suggest
from convlens.runtime.threads import limit_spinning

# In the order in which they run. All but LONG are meant to take at most an hour on two cores.
NAMES = (
    "gradcam", "fgsm", "patches", "startup", "page", "errors", "diff", "shift", "maximize",
    "folders", "streaming", "throughput", "check", "false_alarms", "explore", "gabor", "dream",
    "resume", "scale", "engine", "accuracy", "antialiasing", "mnist",
)  # fmt: skip
# Run only when they are named: what docs/scale.md states, and trainings.
LONG = frozenset({"scale", "engine", "accuracy", "antialiasing", "mnist"})


def main(arguments: list[str]) -> int:
    """Run the benchmarks that the arguments name, or list all.

    Args:
        arguments: those of the command line, without the program's name.

    Returns:
        Exit status: 0; 1 if a benchmark failed; 2 for an unknown name.
    """
    limit_spinning()  # before a benchmark imports torch
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Run the benchmarks named, or all but {', '.join(sorted(LONG))}.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a benchmark to run")
    parser.add_argument(
        "--write-document", action="store_true", help="write the results to docs/benchmarks.md"
    )
    parser.add_argument("--list", action="store_true", help="list the benchmarks, run none")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in NAMES:
            nearest = suggest(name, NAMES) or f"; there are: {', '.join(NAMES)}"
            print(f"there is no benchmark {name!r}{nearest}", file=sys.stderr)
            return 2
    if options.list:
        width = max(map(len, NAMES)) + 2
        for name in NAMES:
            print(f"{name:<{width}}{summarize(name)}{' Only when named.' * (name in LONG)}")
        return 0
    names = list(dict.fromkeys(options.names or [name for name in NAMES if name not in LONG]))
    if len(names) == 1:
        _run(names[0], write_document=options.write_document)
        return 0
    return _run_in_processes(names, write_document=options.write_document)


def _run(name: str, *, write_document: bool) -> None:
    """Run a benchmark in this process, and print and store how long it took."""
    module = import_module(f"benchmarks.{name}")
    start = time.perf_counter()
    module.run()
    minutes = (time.perf_counter() - start) / 60
    print(f"{name}: {minutes:.1f} minutes", flush=True)
    from benchmarks import tables

    tables.add_minutes(name, minutes)
    if write_document:  # after each, so that an interrupted run leaves its part
        from benchmarks import document

        summaries = {name: summarize(name) for name in NAMES}
        document.write_document(summaries, tables.RESULTS, document.DOCUMENT)
        print(f"written: {document.DOCUMENT}")


def _run_in_processes(names: list[str], *, write_document: bool) -> int:
    """Run each benchmark in a process of its own; 1 if one of them failed, otherwise 0."""
    start = time.perf_counter()
    options = ["--write-document"] if write_document else []
    failed = []
    for name in names:
        words = [sys.executable, "-m", "benchmarks", name, *options]
        if subprocess.run(words, check=False).returncode:
            failed.append(name)
    minutes = (time.perf_counter() - start) / 60
    print(f"{len(names)} benchmarks: {minutes:.1f} minutes; failed: {', '.join(failed) or 'none'}")
    return int(bool(failed))


def summarize(name: str) -> str:
    """First line of a benchmark's module docstring. The module, and so torch, is not imported."""
    source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
