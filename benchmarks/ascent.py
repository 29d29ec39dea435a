"""Activation maximization in a process: `python -m benchmarks.ascent LIBRARY STEPS TASK ...`.

Each call of torch-lucent leaves hooks on the network, so that every measurement needs a fresh
process; convlens gets one for all of its tasks. The program prints a line of JSON for each task,
with wall and CPU seconds for each step after a warm-up, and writes the images of the last task to
the file of `--out`.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from torch import Tensor, nn

LAYER = 14  # of VGG-16's features: the third convolution of the third block, conv3_3
CHANNELS = (3, 57, 133, 201)
UNIT = "@28,28"
SIDE = 224  # pixels of the image where both libraries optimize the same size
WEIGHTS = Path(__file__).parents[2] / "shared" / "weights" / "vgg16_features_imagenet.safetensors"
WARM_UP_STEPS = 3


def network() -> nn.Module:
    """VGG-16; its convolutions are trained if the file of weights is there, otherwise random."""
    from safetensors.torch import load_file
    from torchvision.models import vgg16

    torch.manual_seed(0)
    vgg: nn.Module = vgg16(weights=None, init_weights=False).eval()
    if WEIGHTS.is_file():
        vgg.load_state_dict(load_file(WEIGHTS), strict=False)
    return vgg


Times = tuple[float, float]  # wall and CPU seconds


def run_lucent(channel: str, steps: int) -> tuple[Times, Tensor]:
    """torch-lucent at its defaults for a channel: seconds for each step, and the image."""
    from lucent.optvis import param, render

    vgg = network()
    stamps: list[Times] = []
    vgg.register_forward_pre_hook(lambda *_: stamps.append(_now()))
    last_image: list[Tensor] = []

    def parameterize() -> tuple[list[Tensor], object]:
        parameters, make = param.image(128)

        def make_image() -> Tensor:
            last_image[:] = [make()]
            return last_image[0]

        return parameters, make_image

    render.render_vis(
        vgg, f"features_{LAYER}:{channel}", parameterize, thresholds=(steps + WARM_UP_STEPS,),
        show_image=False, progress=False, verbose=False,
    )  # fmt: skip
    # A step lasts from the start of a forward pass to the start of the next.
    return _seconds_per_step(stamps, 1), last_image[-1].detach()


def run_convlens(task: str, steps: int) -> tuple[Times, Tensor]:
    """convlens: seconds for each step and target, and the images.

    Args:
        task: `channels` or `units` for all of CHANNELS in a batch, or the number of a channel;
            followed by `same` to optimize images of SIDE pixels instead of the default size.
        steps: number of steps after the warm-up.
    """
    import convlens

    targets, *options = task.split()
    channels = CHANNELS if targets in ("channels", "units") else (int(targets),)
    position = UNIT if targets == "units" else ""
    model = convlens.wrap(
        network(), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), name="vgg16"
    )
    stamps: list[Times] = []
    maximization = convlens.maximize(
        model,
        [f"features.{LAYER}:{channel}{position}" for channel in channels],
        steps=steps + WARM_UP_STEPS,
        image_size=SIDE if "same" in options else None,
        progress=lambda done, total: stamps.append(_now()),
    )
    images = torch.cat([maximum.images for maximum in maximization.maxima])
    return _seconds_per_step(stamps, len(channels)), images


def _now() -> Times:
    return time.perf_counter(), time.process_time()


def _seconds_per_step(stamps: list[Times], targets: int) -> Times:
    """Wall and CPU seconds for each step and target after the warm-up."""
    steps = (len(stamps) - WARM_UP_STEPS) * targets
    wall, cpu = (b - a for a, b in zip(stamps[WARM_UP_STEPS - 1], stamps[-1], strict=True))
    return wall / steps, cpu / steps


def main() -> None:
    """Run the tasks of the command line."""
    libraries = {"lucent": run_lucent, "convlens": run_convlens}
    parser = argparse.ArgumentParser()
    parser.add_argument("library", choices=libraries)
    parser.add_argument("steps", type=int)
    parser.add_argument("tasks", nargs="+", metavar="TASK")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    for task in arguments.tasks:
        (wall, cpu), images = libraries[arguments.library](task, arguments.steps)
        print(json.dumps({"wall": wall, "cpu": cpu, "shape": list(images.shape)}))
    if arguments.out:
        torch.save(images, arguments.out)


if __name__ == "__main__":
    main()
