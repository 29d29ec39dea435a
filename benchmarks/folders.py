"""Commands over a folder of photos beside the same library call: time of a further photo.

Both run in this process on the same photos, with the same loaded network, for two numbers of
photos. The difference between the two divided by the difference of the numbers is the time of a
photo without the time to start.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import convlens
from benchmarks.photo_files import SIZE, write_photos
from benchmarks.tables import TextTable, print_remarks, print_text_table, write_results
from benchmarks.timing import MIN_ROUNDS, Spread
from convlens.cli import main
from convlens.models.model import Model

FEW, MANY = 16, 144  # photos; the difference is above the spread of the time to start
TARGET = 0.85  # of the library's photos a second
LAYER = "blocks.6.0"  # of `patches`, whose crops for all layers take longer than the pass
LibraryCall = Callable[[Model, list[Path], Path], object]
CALLS: dict[str, LibraryCall] = {
    "gradcam": lambda model, paths, out: convlens.gradcams(model, paths, out=out),
    "patches": lambda model, paths, out: convlens.patches(model, paths, layers=[LAYER]).save(out),
    "errors": lambda model, paths, out: convlens.error_analysis(
        model, paths, [(number % 2,) for number in range(len(paths))], examine=0
    ).save(out),
}
# The names of the folders would be labels, with which `patches` runs a second pass.
OPTIONS = {"patches": ["--layer", LAYER, "--no-labels"], "errors": ["--examine", "0"]}
HOW = (
    f"default network, {FEW} and {MANY} JPEG files of {SIZE[0]} x {SIZE[1]} pixels; the library "
    f"call reads the same files and saves its result",
)


def run() -> None:
    """Measure, print and write the results."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        folders = {count: _write_photos(root / str(count), count) for count in (FEW, MANY)}
        model = convlens.load()
        for command, call in CALLS.items():
            rates: dict[str, list[float]] = {"command": [], "library": []}
            for number in range(1 + MIN_ROUNDS):
                for who, own_rates in rates.items():
                    seconds = {}
                    for count, folder in folders.items():
                        out = root / "out"
                        shutil.rmtree(out, ignore_errors=True)
                        start = time.perf_counter()
                        if who == "command":
                            _run_command(command, model, folder, out)
                        else:
                            call(model, sorted(folder.glob("*/*.jpg")), out)
                        seconds[count] = time.perf_counter() - start
                    if number:  # the first round is not counted
                        own_rates.append((MANY - FEW) / (seconds[MANY] - seconds[FEW]))
            rows.append(_make_row(command, rates))
            print(*rows[-1], flush=True)
    headings = ("command", "photos a second", "library", "share", f"at least {TARGET:g}")
    table = TextTable("further photos a second", headings, tuple(rows))
    print_text_table(table)
    print_remarks(HOW)
    write_results("folders", {}, tables=[table], remarks=HOW)


def _make_row(command: str, rates: dict[str, list[float]]) -> tuple[str, ...]:
    pairs = zip(rates["command"], rates["library"], strict=True)
    share = Spread.of([own / library for own, library in pairs])
    own, library = (Spread.of(rates[who]) for who in ("command", "library"))
    verdict = "met" if share.median >= TARGET else "MISSED"
    return command, f"{own:.1f}", f"{library:.1f}", f"{share:.2f}", verdict


def _run_command(command: str, model: Model, folder: Path, out: Path) -> None:
    """Run a command in this process, as a user types it, on a network that is loaded already.

    Loading takes seconds that vary more than the photos take.
    """
    words = ["convlens", command, str(folder), *OPTIONS.get(command, ()), "--quiet"]
    with (
        patch.object(sys, "argv", [*words, "--out", str(out)]),
        patch("convlens.cli.dataset_pass.load_model", return_value=model),
        redirect_stdout(StringIO()),
        suppress(SystemExit),
    ):
        main()
    if not out.is_dir():
        raise RuntimeError(f"{' '.join(words)} wrote no {out}")


def _write_photos(folder: Path, count: int) -> Path:
    """Photos in folders of two classes of ImageNet, which are labels for `errors`."""
    classes = ("n01440764", "n01443537")
    write_photos(folder / classes[number % 2] / f"{number:03}.jpg" for number in range(count))
    return folder
