"""One climb in a process of its own: `python -m benchmarks.climbing WHO WHAT STEPS [OUT]`.

torch-lucent leaves hooks on the network at each call, so that every measurement of it needs a fresh
process; ours gets one too. Prints wall and CPU seconds for each step after a warm-up, and may write
the images.
"""

import json
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

LAYER = 14  # of VGG-16's features: the third convolution of the third block, conv3_3
CHANNELS = (3, 21, 57, 90, 133, 170, 201, 250)
UNIT = "@28,28"
SIDE = 224  # of the canvas, where both are to have the same
WEIGHTS = Path(__file__).parents[2] / "shared" / "weights" / "vgg16_features_imagenet.safetensors"
WARM = 3  # steps


def network() -> nn.Module:
    """VGG-16, with trained convolutions where they are at hand."""
    from safetensors.torch import load_file
    from torchvision.models import vgg16

    torch.manual_seed(0)
    built: nn.Module = vgg16(weights=None, init_weights=False).eval()
    if WEIGHTS.is_file():
        built.load_state_dict(load_file(WEIGHTS), strict=False)
    return built


Stamp = tuple[float, float]  # wall and CPU seconds


def lucent(what: str, steps: int) -> tuple[Stamp, Tensor]:
    """torch-lucent at its defaults, a channel a call: seconds a step, and the image."""
    from lucent.optvis import param, render

    built = network()
    stamps: list[Stamp] = []
    built.register_forward_pre_hook(lambda *_: stamps.append(_now()))
    kept: list[Tensor] = []

    def image() -> tuple[list[Tensor], object]:
        parameters, make = param.image(128)

        def drawn() -> Tensor:
            kept[:] = [make()]
            return kept[0]

        return parameters, drawn

    render.render_vis(
        built, f"features_{LAYER}:{what}", image, thresholds=(steps + WARM,),
        show_image=False, progress=False, verbose=False,
    )  # fmt: skip
    # From the beginning of one pass to that of the next.
    return _each(stamps, 1), kept[-1].detach()


def ours(what: str, steps: int) -> tuple[Stamp, Tensor]:
    """convlens: seconds a step and target, and the images.

    `what` is "channels", "units" or "channels same" for all eight in a batch, or one channel.
    """
    import convlens

    words = what.split()
    numbers = CHANNELS if words[0] in ("channels", "units") else (int(words[0]),)
    at = UNIT if words[0] == "units" else ""
    model = convlens.wrap(
        network(), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), name="vgg16"
    )
    stamps: list[Stamp] = []
    found = convlens.maximize(
        model,
        [f"features.{LAYER}:{number}{at}" for number in numbers],
        steps=steps + WARM,
        image_size=SIDE if "same" in words else None,
        progress=lambda done, total: stamps.append(_now()),
    )
    return _each(stamps, len(numbers)), torch.cat([one.images for one in found.maxima])


def _now() -> Stamp:
    return time.perf_counter(), time.process_time()


def _each(stamps: list[Stamp], targets: int) -> Stamp:
    """Wall and CPU seconds of a step and target, after the warm-up."""
    steps = (len(stamps) - WARM) * targets
    wall, cpu = (b - a for a, b in zip(stamps[WARM - 1], stamps[-1], strict=True))
    return wall / steps, cpu / steps


def main() -> None:
    """Climb as the arguments say."""
    who, what, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
    seconds, images = {"lucent": lucent, "ours": ours}[who](what, steps)
    if len(sys.argv) > 4:
        torch.save(images, sys.argv[4])
    print(json.dumps({"wall": seconds[0], "cpu": seconds[1], "shape": list(images.shape)}))


if __name__ == "__main__":
    main()
