"""Dream of a large photo: peak memory (at most 3 GiB) and time of a step at 3840 x 2160 on VGG-16.

The step runs in a process of its own. Peak memory is what Linux records for the whole process
(VmHWM of `/proc/self/status`), with Python, torch, the network and the photo. The network is
VGG-16's convolutions with random weights, which take as much memory as trained ones.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.tables import print_remarks, write_results

SIZE = (2160, 3840)  # height, width
LAYER = "features.21"
TARGET = 3.0  # GiB


def run() -> None:
    """Measure, print and write the results."""
    command = [sys.executable, "-m", "benchmarks.dream"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures = json.loads(output.splitlines()[-1])
    met = figures["GiB"] <= TARGET
    height, width = SIZE
    sentence = (
        f"one step of a dream of {width} x {height} pixels at {LAYER} of VGG-16, "
        f"{figures['tiles']} tiles: peak {figures['GiB']:.2f} GiB ({figures['before']:.2f} before "
        f"the photo was read), at most {TARGET:g}: {'met' if met else 'MISSED'}; "
        f"{figures['seconds']:.0f} s, with the objective before and after the step and that of "
        f"the photo"
    )
    print_remarks((sentence,))
    write_results("dream", {**figures, "target": TARGET, "met": met}, remarks=[sentence])


def run_step(size: tuple[int, int] = SIZE) -> None:
    """Run one step in this process, and print its figures as a line of JSON.

    Args:
        size: height and width of the photo in pixels; default: `SIZE`.
    """
    from collections import OrderedDict

    from PIL import Image
    from torch import nn
    from torchvision.models.vgg import cfgs, make_layers

    import convlens

    layers = make_layers(cfgs["D"])  # without the classifier, which holds most of the weights
    model = convlens.wrap(
        nn.Sequential(OrderedDict(features=layers)),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        size=224,
    )
    before = _peak_memory()
    height, width = size
    photo = Image.effect_noise((width, height), 64).convert("RGB")
    start = time.perf_counter()
    dream = convlens.dream(model, photo, layer=LAYER, octaves=1, steps=1)
    seconds = time.perf_counter() - start
    figures = {"GiB": _peak_memory(), "before": before, "seconds": seconds, "tiles": dream.tiles}
    print(json.dumps(figures))


def _peak_memory() -> float:
    """Peak memory of this process so far, in GiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (peak,) = (line for line in lines if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 2**20


if __name__ == "__main__":
    run_step()
