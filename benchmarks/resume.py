"""Exact resume: a training killed five times beside one never stopped; weights must be bit-equal.

Both run as a user runs them: in processes of their own with the threads of the machine. The kills
(`kill -9`) come from outside at random times.
"""

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.tables import print_remarks, write_results
from convlens.models.loading.run_folder import read_run_folder
from convlens.models.loading.specs import DESCRIPTION

KILLS = 5
EPOCHS = 12
PROGRAM = "from convlens.cli import main; main()"


def run() -> None:
    """Train with and without kills, compare the weights, print and write the results."""
    delays = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        start = time.monotonic()
        _start_training(whole).communicate()
        seconds = time.monotonic() - start
        steps_at_kills: list[int] = []
        while len(steps_at_kills) < KILLS:
            process = _start_training(killed)
            before = saved_step(killed)
            while saved_step(killed) == before and process.poll() is None:
                time.sleep(0.01)
            time.sleep(delays.uniform(0, seconds / EPOCHS))
            process.kill()
            if process.wait() >= 0:
                break
            steps_at_kills.append(saved_step(killed))
        _start_training(killed).communicate()
        expected, weights = _read_weights(whole), _read_weights(killed)
    different = [name for name in expected if not torch.equal(expected[name], weights[name])]
    remarks = (
        f"killed {len(steps_at_kills)} times, with {steps_at_kills} steps saved, and resumed",
        f"{len(expected)} tensors of the final checkpoint, of which {len(different)} differ: "
        f"{'MISSED' if different or not steps_at_kills else 'met'}",
    )
    print_remarks(remarks)
    write_results("resume", {"steps": steps_at_kills, "different": different}, remarks=remarks)


def saved_step(out: Path) -> int:
    """Training step of the last checkpoint in a run folder; -1 if there is none."""
    if not (out / DESCRIPTION).is_file():
        return -1
    step: int = read_run_folder(out).description["progress"]["step"]
    return step


def _start_training(out: Path) -> subprocess.Popen[bytes]:
    options = [
        "train", "digits", "--epochs", str(EPOCHS), "--save-every", "0.2", "--device", "cpu",
        "--out", str(out), "--quiet",
    ]  # fmt: skip
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *options], stdout=subprocess.DEVNULL)


def _read_weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / read_run_folder(out).folder_of("last") / "weights.safetensors")
