"""A dream of a large photo: peak memory and time of one step at 3840 x 2160 on VGG-16.

The step runs in a process of its own, and the peak is what Linux notes of the whole of it (VmHWM of
`/proc/self/status`), with Python, torch, the network and the photo. The network is VGG-16's
convolutions with random weights, whose memory is that of trained ones.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.tables import RESULTS, tell
from benchmarks.timing import machine

SIZE = (2160, 3840)  # height, width
LAYER = "features.21"
TARGET = 3.0  # GiB


def run() -> None:
    """Measure, print and keep."""
    words = [sys.executable, "-m", "benchmarks.dream"]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    found = json.loads(said.splitlines()[-1])
    met = found["GiB"] <= TARGET
    height, width = SIZE
    print(
        f"one step of a dream of {width} x {height} pixels at {LAYER} of VGG-16, {found['tiles']} "
        f"tiles: peak {found['GiB']:.2f} GiB ({found['before']:.2f} before the photo was read), "
        f"at most {TARGET:g}: {'met' if met else 'MISSED'}; {found['seconds']:.0f} s with the "
        f"objective before it, after it and of the photo"
    )
    tell(())
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "dream.json"
    content = {"machine": machine(), **found, "target": TARGET, "met": met}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"written: {path}")


def training_step() -> None:
    """One step, in this process; its figures as a line of JSON."""
    from collections import OrderedDict

    from PIL import Image
    from torch import nn
    from torchvision.models.vgg import cfgs, make_layers

    import convlens

    layers = make_layers(cfgs["D"])  # not the classifier, which is most of the weights
    model = convlens.wrap(
        nn.Sequential(OrderedDict(features=layers)),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        size=224,
    )
    before = _peak()
    height, width = SIZE
    photo = Image.effect_noise((width, height), 64).convert("RGB")
    began = time.perf_counter()
    found = convlens.dream(model, photo, layer=LAYER, octaves=1, steps=1)
    seconds = time.perf_counter() - began
    print(json.dumps({"GiB": _peak(), "before": before, "seconds": seconds, "tiles": found.tiles}))


def _peak() -> float:
    """The most memory that this process has ever held, in GiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = (one for one in lines if one.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20


if __name__ == "__main__":
    training_step()
