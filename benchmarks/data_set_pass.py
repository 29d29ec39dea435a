"""What the benchmarks of analyses that run a pass over a data set have in common."""

from collections.abc import Callable, Sequence
from functools import partial

from benchmarks import networks
from benchmarks.floors import Floor, measure_pass_floor
from benchmarks.tables import METHOD, Entry, compare, print_remarks, print_table, write_rows
from benchmarks.timing import Work
from convlens.runtime.allocator import keep_freed_memory

NETWORK = networks.NAMES[0]  # with the slower ones a run would take half an hour
IMAGES = 1000


def compare_with_passes(
    name: str,
    title: str,
    analysis: str,
    make: Callable[[Floor], Work],
    *,
    target: float,
    remarks: Sequence[str],
) -> None:
    """Measure an analysis of IMAGES images beside bare forward passes; print and write the result.

    Args:
        name: of the benchmark.
        title: of its table.
        analysis: what is measured, in words.
        make: returns the callable that is timed, for the network and the images of a floor.
        target: the largest ratio to the floor.
        remarks: how the analysis runs, one sentence each.
    """
    keep_freed_memory()  # as the command line does
    floor = measure_pass_floor(networks.build(NETWORK), networks.images(IMAGES))
    entry = Entry(analysis, "convlens", partial(make, floor), target)
    rows = compare(NETWORK, floor.name, floor.work, [entry])
    remarks = (*remarks, f"{NETWORK}, {floor.describe()}")
    print_table(f"{title}: {NETWORK}", rows)
    print_remarks((METHOD, *remarks))
    write_rows(name, rows, remarks)
