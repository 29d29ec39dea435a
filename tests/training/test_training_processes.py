"""Training as two processes that stand for two machines, against one machine with two devices."""

import os
import socket

import numpy as np
import pytest
from safetensors.torch import load_file

from convlens import ConvlensError, open_data, train
from support.fork_server import run_program, start_program
from support.tensors import same_tensors
from support.trained_runs import weights

# A signal is sent to the process before a step, and its own weights are saved at the end.
PROGRAM = """
import os, signal
import torch
torch.set_num_threads(1)
from safetensors.torch import save_file
from convlens.cli import main
from convlens.training import loop, run_writer

signal_name, kill_at = os.environ["SIGNAL"], int(os.environ["KILL_AT"])
weights_file = os.environ["WEIGHTS_FILE"]
step, describe, steps = loop.training_step, run_writer.describe_run, 0

def stopping(*arguments):
    global steps
    steps += 1
    if signal_name and steps == kill_at:
        os.kill(os.getpid(), getattr(signal, signal_name))
    return step(*arguments)

def keeping(data, recipe, model, *state):
    weights = model.network.state_dict()
    save_file({name: t.contiguous() for name, t in weights.items()}, weights_file)
    return describe(data, recipe, model, *state)

loop.training_step, run_writer.describe_run = stopping, keeping
main()
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 255, (100, 12, 12), dtype=np.uint8), np.arange(100) % 2
    images[labels == 1, :6] //= 4
    path = tmp_path_factory.mktemp("data") / "halves.npz"
    np.savez(path, x_train=images[:80], y_train=labels[:80], x_test=images[80:],
             y_test=labels[80:])  # fmt: skip
    return path


@pytest.fixture(scope="module")
def one_machine(archive, tmp_path_factory):
    """Weights after a training on two devices of one machine."""
    out = tmp_path_factory.mktemp("one") / "run"
    own = environment(WEIGHTS_FILE=str(out.parent / "own"))
    status, _, err = run_program(PROGRAM, words(archive, out, "--devices", "2"), environment=own)
    assert status == 0, err
    return weights(out)


def words(archive, out, *more):
    return [
        "train", str(archive), "--out", str(out), "--epochs", "2",
        "--batch", "20", "--device", "cpu", "--save-every", "0.001", *more,
    ]  # fmt: skip


def environment(**own):
    result = {
        name: value for name, value in os.environ.items() if name not in ("RANK", "LOCAL_RANK")
    }
    # Fabric gives a process alone on its machine more threads, and small batches other last bits.
    result["OMP_NUM_THREADS"] = "1"
    return result | {"SIGNAL": "", "KILL_AT": "0"} | own


def two_machines(archive, outs, tmp_path, *, signal_name="", kill_at=0, more=((), ())):
    """Exit status, output and errors of each of two processes; the second may get a signal."""
    try:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    except OSError as error:
        pytest.skip(f"no port can be had here ({error})")
    started = []
    for node in (0, 1):
        own = environment(
            MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), NODE_RANK=str(node),
            SIGNAL=signal_name if node == 1 else "", KILL_AT=str(kill_at),
            WEIGHTS_FILE=str(tmp_path / f"own-{node}"),
        )  # fmt: skip
        command = words(archive, outs[node], "--num-nodes", "2", *more[node])
        started.append(start_program(PROGRAM, command, environment=own))
    try:
        outputs = [process.communicate(timeout=300) for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(started, outputs, strict=True)]


@pytest.mark.slow
def test_two_machines_are_two_devices(archive, one_machine, tmp_path):
    """Equal in every bit; the second has the same weights, writes nothing and prints no result."""
    outs = tmp_path / "run", tmp_path / "nowhere"
    first, second = two_machines(archive, outs, tmp_path)
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert same_tensors(weights(outs[0]), one_machine)
    assert same_tensors(load_file(tmp_path / "own-0"), load_file(tmp_path / "own-1"))
    assert not outs[1].exists()
    assert "of 20 validation images predicted correctly" in first[1]
    assert second[1] == ""


@pytest.mark.slow
def test_stopped_on_one_machine_and_gone_on_with(archive, one_machine, tmp_path):
    """An interrupt stops both and keeps all; where one is killed the other says so and ends."""
    outs = tmp_path / "run", tmp_path / "nowhere"
    first, second = two_machines(archive, outs, tmp_path, signal_name="SIGINT", kill_at=3)
    for status, _, errors in (first, second):
        assert status == 2
        assert "interrupted after 3 of 8 steps; all is kept" in errors.splitlines()[-1]
    first, second = two_machines(archive, outs, tmp_path, signal_name="SIGKILL", kill_at=3)
    assert (first[0], second[0]) == (2, -9)
    assert "goes on after step 3 of 8" in first[2]
    assert "another process of this training has ended" in first[2].splitlines()[-1]
    assert "Traceback" not in first[2]
    first, second = two_machines(archive, outs, tmp_path)
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert "goes on after step 5 of 8" in first[2]
    assert same_tensors(weights(outs[0]), one_machine)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--learning-rate", "0.5"], "machine 0 has learning rate 0.05 and machine 1 0.5"),
        (["--network", "alexnett"], "no network 'alexnett'; nearest: alexnet"),
    ],
)
def test_what_is_wrong_on_one_machine_ends_both(archive, tmp_path, more, message):
    out = tmp_path / "run"
    base = ["--learning-rate", "0.05"]
    ended = two_machines(archive, (out, out), tmp_path, more=(base, base + more))
    for status, output, errors in ended:
        assert (status, output) == (2, "")
        assert message in errors.splitlines()[-1]
        assert "Traceback" not in errors
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no MASTER_ADDR and no MASTER_PORT and no NODE_RANK in the environment"),
        ({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}, "no NODE_RANK in the environment"),
        ({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "NODE_RANK": "2"}, "of 0 to 1"),
        (
            {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "NODE_RANK": "a"},
            "NODE_RANK is 'a'",
        ),
        ({"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "3"}, "torchrun started 3 processes"),
    ],
)
def test_machines_that_would_wait_for_ever(archive, tmp_path, monkeypatch, options, message):
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "SLURM_NTASKS", "LSB_JOBID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in options.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConvlensError, match=message) as caught:
        train(archive, out=tmp_path / "run", network="lenet5", device="cpu", num_nodes=2)
    assert "\n" not in str(caught.value)


def test_a_default_batch_can_be_shared(archive):
    from convlens.training.recipe import default_recipe
    from convlens.training.run import divide_batch

    recipe = default_recipe(open_data(archive))
    assert recipe.batch == 5
    assert divide_batch(recipe, {}, 1) is recipe
    assert divide_batch(recipe, {"batch": None}, 2).batch == 4
    with pytest.raises(ConvlensError, match=r"a batch of 5 .* give a multiple of 2"):
        divide_batch(recipe, {"batch": 5}, 2)
