"""Interrupted and killed trainings end with the weights of one that was not stopped."""

import json
import os
import random
import signal
import textwrap
import time
from typing import Any

import pytest

from convlens import ConvlensError, train
from convlens.models.loading.specs import DESCRIPTION
from support.fork_server import run_program, start_program
from support.tensors import same_tensors
from support.trained_runs import RECIPE, weights

pytest_plugins = "support.trained_runs"


@pytest.mark.parametrize("network", [pytest.param("allconv", marks=pytest.mark.slow), "lenet5"])
def test_interrupted_and_gone_on_with(archive, tmp_path, network):
    """Stopped in the middle of an epoch, it ends bit-equal to a run that was not."""
    options: dict[str, Any] = RECIPE | {"network": network, "checkpoints": 3}
    train(archive, out=tmp_path / "whole", **options)

    def interrupt(stage, done, total):
        if done in (3, 8):
            os.kill(os.getpid(), signal.SIGINT)

    for _ in range(2):
        with pytest.raises(ConvlensError, match="interrupted after"):
            train(archive, out=tmp_path / "parts", progress=interrupt, **options)
    messages = []
    train(archive, out=tmp_path / "parts", on_message=messages.append, **options)
    assert "goes on after step 8 of 10" in messages
    assert same_tensors(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    first, second = (
        json.loads((tmp_path / name / DESCRIPTION).read_text()) for name in ("whole", "parts")
    )
    for row in (*first["progress"]["history"], *second["progress"]["history"]):
        del row["seconds"]
    assert first == second


KILLED = """
    import os, signal, sys
    import torch
    from pathlib import Path
    torch.set_num_threads(1)
    import convlens.training.checkpoints as folder
    from convlens import files, train

    archive, out, moment, count = sys.argv[1:]
    seen = 0

    def die_at(name, module, attribute, half=None):
        original = getattr(module, attribute)
        def deadly(*arguments):
            global seen
            if moment == name:
                seen += 1
                if seen == int(count):
                    if half:
                        half(*arguments)
                    os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments)
        setattr(module, attribute, deadly)

    die_at("half a file", folder, "write_tensors", lambda path, _: path.write_bytes(b"half"))
    die_at("before the description", folder, "atomic_file")
    die_at("after the description", folder, "prune_checkpoints")
    die_at("renaming", Path, "replace")
    train(archive, out=out, network="lenet5", epochs=2, batch=20, device="cpu", save_every=1e-9)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "count"),
    [
        ("half a file", 1),
        ("half a file", 6),
        ("before the description", 4),
        ("renaming", 3),
        ("after the description", 5),
    ],
)
def test_killed_in_the_middle_of_a_save(archive, tmp_path, moment, count):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    script = textwrap.dedent(KILLED)
    status, _, err = run_program(script, [archive, parts, moment, count])
    assert status == -signal.SIGKILL, err
    train(archive, out=whole, **RECIPE)
    train(archive, out=parts, **RECIPE)
    assert same_tensors(weights(whole), weights(parts))
    names = {path.name for path in parts.iterdir()} - {".lock"}
    assert names == {path.name for path in whole.iterdir()} - {".lock"}


@pytest.mark.slow
def test_killed_at_random_moments(archive, tmp_path):
    """Every step saves; the process is killed again and again, from outside."""
    parts = tmp_path / "parts"
    script = textwrap.dedent(KILLED)
    moments = random.Random(0)
    kills = 0
    for _ in range(3):
        process = start_program(script, [archive, parts, "never", 0])
        began = time.monotonic()
        while not (parts / DESCRIPTION).exists() and time.monotonic() - began < 60:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.1))
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills
    train(archive, out=parts, **RECIPE)
    train(archive, out=tmp_path / "whole", **RECIPE)
    assert same_tensors(weights(tmp_path / "whole"), weights(parts))
