"""Exact resume: a training killed again and again ends bit-equal to one that was never stopped.

Both run as a user runs them, as processes of their own with the threads of the machine; the kills
(`kill -9`) come at random moments from outside.
"""

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from convlens.models.loading.run_folder import DESCRIPTION, read_run_folder
from convlens.models.loading.weight_files import read_state_dict

KILLS = 5
EPOCHS = 12
OPTIONS = ("train", "digits", "--epochs", str(EPOCHS), "--save-every", "0.2", "--device", "cpu")
PROGRAM = "from convlens.cli import main; main()"


def run() -> None:
    """Kill, go on, compare, print."""
    moments = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        whole, parts = Path(folder) / "whole", Path(folder) / "parts"
        began = time.monotonic()
        _start(whole).communicate()
        alone = time.monotonic() - began
        killed_at: list[int] = []
        while len(killed_at) < KILLS:
            process = _start(parts)
            before = training_step(parts)
            while training_step(parts) == before and process.poll() is None:
                time.sleep(0.01)
            time.sleep(moments.uniform(0, alone / EPOCHS))
            process.kill()
            if process.wait() >= 0:
                break
            killed_at.append(training_step(parts))
        _start(parts).communicate()
        one, two = (_weights(run) for run in (whole, parts))
    different = [name for name in one if not torch.equal(one[name], two[name])]
    print(f"killed {len(killed_at)} times, with {killed_at} steps saved, and gone on with")
    print(
        f"{len(one)} tensors of the final checkpoint, {len(different)} of them differ in any bit: "
        f"{'MISSED' if different or not killed_at else 'met'}"
    )


def _start(out: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", PROGRAM, *OPTIONS, "--out", str(out), "--quiet"]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL)


def training_step(out: Path) -> int:
    return (
        read_run_folder(out).description["progress"]["step"]
        if (out / DESCRIPTION).is_file()
        else -1
    )


def _weights(out: Path) -> dict[str, torch.Tensor]:
    return read_state_dict(out / read_run_folder(out).folder_of("last") / "weights.safetensors")
