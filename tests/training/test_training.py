"""Training: its pieces against plain loops, the whole against a run that was never stopped."""

import csv
import json
import os
import random
import shutil
import signal
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import convlens
from convlens import ConvlensError, build, open_data, train
from convlens.models.loading.run_folder import DESCRIPTION
from convlens.training import default_recipe
from convlens.training.augment import augment, shift_images
from convlens.training.batch_size import check_batch_fits
from convlens.training.data import LabeledImages
from convlens.training.normalization import mean_and_std
from support.fork_server import run_program, start_program

RECIPE: dict[str, Any] = {"network": "lenet5", "epochs": 2, "batch": 20, "device": "cpu"}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Bright squares on the left or on the right of noise: learned in a few steps."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (120, 12, 12), dtype=np.uint8)
    labels = np.arange(120) % 2
    for image, label in zip(images, labels, strict=True):
        top, left = rng.integers(0, 6), rng.integers(0, 2) + 6 * label
        image[top : top + 4, left : left + 4] = 255
    path = tmp_path_factory.mktemp("data") / "squares.npz"
    np.savez(path, x_train=images[:100], y_train=labels[:100], x_test=images[100:],
             y_test=labels[100:])  # fmt: skip
    return path


def weights(run, which="last"):
    named = json.loads((Path(run) / DESCRIPTION).read_text())["checkpoints"]
    return load_file(Path(run) / named[which] / "weights.safetensors")


def same(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(first[key], second[key]) for key in first
    )


class TestPieces:
    def test_shifts_against_a_loop(self):
        images = torch.rand(4, 2, 5, 6)
        down, right = torch.tensor([2, -1, 0, 5]), torch.tensor([-3, 1, 0, 0])
        shifted = shift_images(images, down, right)
        for n in range(4):
            for y in range(5):
                for x in range(6):
                    source = y - int(down[n]), x - int(right[n])
                    inside = 0 <= source[0] < 5 and 0 <= source[1] < 6
                    expected = images[n, :, *source] if inside else torch.zeros(2)
                    assert torch.equal(shifted[n, :, y, x], expected)

    def test_shift_is_drawn_for_each_image_over_the_whole_range(self):
        torch.manual_seed(0)
        images = torch.zeros(400, 1, 9, 9)
        images[:, :, 4, 4] = 1
        moved = augment(images, shift=2, flip=False, erase=0)
        where = moved.flatten(1).argmax(1)
        assert set((where // 9).tolist()) == set((where % 9).tolist()) == {2, 3, 4, 5, 6}

    def test_half_are_mirrored(self):
        torch.manual_seed(0)
        images = torch.rand(200, 1, 4, 4)
        augmented = augment(images, shift=0, flip=True, erase=0)
        mirrored = [torch.equal(a, b.flip(2)) for a, b in zip(augmented, images, strict=True)]
        unchanged = [torch.equal(a, b) for a, b in zip(augmented, images, strict=True)]
        assert all(a != b for a, b in zip(mirrored, unchanged, strict=True))
        assert 70 < sum(mirrored) < 130

    def test_what_is_erased_is_one_rectangle_of_the_stated_sides(self):
        torch.manual_seed(0)
        augmented = augment(torch.ones(300, 3, 16, 24), shift=0, flip=False, erase=0.5)
        erased = (augmented == 0).all(1)
        assert torch.equal(erased, (augmented == 0).any(1))
        assert 110 < int(erased.flatten(1).any(1).sum()) < 190
        for rectangle in erased[erased.flatten(1).any(1)]:
            rows, columns = rectangle.any(1).sum(), rectangle.any(0).sum()
            assert int(rectangle.sum()) == rows * columns
            assert 2 <= rows <= 8
            assert 3 <= columns <= 12

    def test_mean_and_deviation(self):
        pixels = torch.randint(0, 256, (7, 5, 4, 3), dtype=torch.uint8)
        images = LabeledImages(pixels, torch.zeros(7, dtype=torch.int64))
        values = pixels.double() / 255
        mean, std = mean_and_std(images, "data")
        assert mean == pytest.approx(values.mean((0, 1, 2)).tolist(), abs=1e-6)
        assert std == pytest.approx(values.std((0, 1, 2), correction=0).tolist(), abs=1e-6)
        mean, std = mean_and_std(images, "image")
        own = values - values.mean((1, 2), keepdim=True)
        assert mean == (0, 0, 0)
        assert std == pytest.approx(own.std((0, 1, 2), correction=0).tolist(), abs=1e-6)

    def test_flat_images(self):
        flat = LabeledImages(torch.full((4, 3, 3, 1), 7, dtype=torch.uint8), torch.arange(4) % 2)
        with pytest.raises(ConvlensError, match="flat images"):
            mean_and_std(flat, "data")

    def test_schedule_rises_and_falls(self, archive):
        recipe = default_recipe(open_data(archive))
        rates = [recipe.schedule(step, 100) for step in range(100)]
        assert max(rates) == 1
        top = rates.index(1)
        assert top == 19
        assert rates[: top + 1] == sorted(rates[: top + 1])
        assert rates[top:] == sorted(rates[top:], reverse=True)
        assert 0 < rates[-1] < 0.02
        assert all(0 < recipe.schedule(step, 2) <= 1 for step in range(2))

    def test_defaults_follow_the_data(self, archive):
        data = open_data(archive)
        recipe = default_recipe(data)
        assert (recipe.network, recipe.epochs, recipe.batch) == ("allconv", 100, 6)
        assert not recipe.flip
        color = replace(data, train=LabeledImages(data.train.pixels.expand(-1, -1, -1, 3),
                                            data.train.classes))  # fmt: skip
        assert default_recipe(color).flip

    def test_checkpoints_start_at_the_start_and_end_at_the_end(self, archive):
        recipe = default_recipe(open_data(archive), checkpoints=5)
        assert recipe.checkpoint_steps(160) == [0, 10, 40, 90, 160]


@pytest.fixture(scope="module")
def trained(archive, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    messages = []
    options: dict[str, Any] = RECIPE | {"epochs": 8, "checkpoints": 3}
    result = train(archive, out=out, on_message=messages.append, **options)
    return out, result, messages


class TestRun:
    def test_it_learns(self, trained):
        _, result, _ = trained
        assert result.accuracy == 1
        assert result.history[-1]["loss"] < 0.5 * result.history[0]["loss"]
        assert [row["epoch"] for row in result.history] == list(range(1, 9))

    def test_the_run_is_a_model_that_answers_as_training_said(self, trained, archive):
        out, result, _ = trained
        model = convlens.load(f"{out}@last")
        data = open_data(archive)
        images = data.validation.pixels.movedim(3, 1).float() / 255
        with torch.no_grad():
            right = (model(images).argmax(1) == data.validation.classes).double().mean()
        assert right == result.accuracy
        assert (model.size, model.channels, model.labels) == ((12, 12), 1, ("0", "1"))
        assert model.mean[0] == pytest.approx(
            float(data.train.pixels.double().mean()) / 255, abs=1e-6
        )
        # Zero padding is the average.
        assert model.normalize(torch.full((1, 1, 12, 12), model.mean[0])).abs().max() < 1e-6

    def test_the_log_is_the_history(self, trained):
        out, result, _ = trained
        with (out / "log.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [float(row["loss"]) for row in rows] == [row["loss"] for row in result.history]

    def test_nothing_else_is_left(self, trained):
        out, result, _ = trained
        expected = {"step-0000000", "step-0000010", "step-0000040", f"step-{result.best_step:07d}"}
        names = {path.name for path in out.iterdir()}
        assert names - {".lock"} == {*expected, DESCRIPTION, "log.csv"}
        holding = {path.parent.name for path in out.rglob("optimizer.safetensors")}
        assert holding == {"step-0000040"}

    def test_it_says_what_it_does(self, trained):
        _, _, messages = trained
        assert "100 gray images of 12 x 12, 2 classes; 20 to validate on" in messages[0]
        assert messages[-1].startswith("epoch 8/8: loss 0.")

    def test_a_finished_run_is_not_trained_again(self, trained, archive):
        out, result, _ = trained
        before = weights(out)
        again = train(archive, out=out, checkpoints=3, **(RECIPE | {"epochs": 8}))
        assert again == result
        assert same(before, weights(out))

    def test_the_result_is_saved_and_loaded(self, trained, tmp_path):
        _, result, _ = trained
        result.save(tmp_path / "result")
        assert convlens.Result.load(tmp_path / "result") == result


def test_seed_decides_everything(archive, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(random.randrange(1000))
        train(archive, out=tmp_path / name, seed=seed, **RECIPE)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_callers_gradient_mode_does_not_matter(archive, tmp_path, mode):
    train(archive, out=tmp_path / "plain", **RECIPE)
    with mode():
        train(archive, out=tmp_path / "run", **RECIPE)
    assert same(weights(tmp_path / "plain"), weights(tmp_path / "run"))


def test_random_state_is_left_alone(archive, tmp_path):
    torch.manual_seed(7)
    random.seed(7)
    expected = torch.rand(3), random.random()
    torch.manual_seed(7)
    random.seed(7)
    train(archive, out=tmp_path / "run", **RECIPE)
    assert torch.equal(torch.rand(3), expected[0])
    assert random.random() == expected[1]


def test_center_of_each_image(archive, tmp_path):
    train(archive, out=tmp_path / "run", center="image", **RECIPE)
    model = convlens.load(tmp_path / "run")
    assert (model.center, model.mean) == ("image", (0,))
    images = torch.rand(2, 1, 12, 12) * 0.5
    brighter = images + torch.tensor([0.1, 0.4]).view(2, 1, 1, 1)
    assert model.normalize(images).mean((2, 3)).abs().max() < 1e-6
    with torch.no_grad():
        assert torch.allclose(model(images), model(brighter), atol=1e-5)


@pytest.mark.parametrize("network", ["allconv", "lenet5"])
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
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
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
    assert same(weights(whole), weights(parts))
    names = {path.name for path in parts.iterdir()} - {".lock"}
    assert names == {path.name for path in whole.iterdir()} - {".lock"}


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
    assert same(weights(tmp_path / "whole"), weights(parts))


def test_two_processes_are_one_training(archive, tmp_path):
    """Two processes on the CPU (gloo) share each batch and end where one process ends."""
    options = {"epochs": "2", "batch": "20", "network": "lenet5", "device": "cpu", "erase": "0",
               "shift": "0", "save-every": "0.001"}  # fmt: skip
    program = "import torch\ntorch.set_num_threads(1)\nfrom convlens.cli import main\nmain()\n"
    for count in ("1", "2"):
        words = ["train", str(archive), "--out", str(tmp_path / count)]
        for name, value in (options | {"devices": count}).items():
            words += [f"--{name}", value]
        status, out, err = run_program(program, words)
        assert status == 0, err
        assert out.count("of 20 validation images predicted correctly") == 1
    first, two = weights(tmp_path / "1"), weights(tmp_path / "2")
    assert all(torch.allclose(first[key], two[key], atol=1e-5) for key in first)
    torch.manual_seed(0)
    start = build("lenet5", size=12, channels=1, classes=2).state_dict()
    assert any((first[key] - start[key]).abs().max() > 1e-3 for key in first)


class TestRefusals:
    def test_other_choices_or_data(self, archive, tmp_path):
        out = tmp_path / "run"
        train(archive, out=out, **RECIPE)
        before = weights(out)
        with pytest.raises(ConvlensError, match="with epochs 2, now 3"):
            train(archive, out=out, **(RECIPE | {"epochs": 3}))
        with pytest.raises(ConvlensError, match="with other images or labels"):
            train("digits", out=out, **(RECIPE | {"network": "allconv"}))
        assert same(before, weights(out))

    def test_other_files(self, archive, tmp_path):
        (tmp_path / "holiday.jpg").touch()
        with pytest.raises(ConvlensError, match=r"other files \(holiday.jpg\)"):
            train(archive, out=tmp_path, **RECIPE)
        assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == ["holiday.jpg"]

    @pytest.mark.parametrize("described", [False, True])
    def test_nobodys_checkpoints_are_removed(self, archive, trained, tmp_path, described):
        """Folders and files that are named alike, as other programs name theirs."""
        out = tmp_path / "run"
        if described:
            shutil.copytree(trained[0], out)
        for name in ("step-1000.ckpt", "step-2000/model.pt", "step-0003000/notes.txt"):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).touch()
        if described:
            train(archive, out=out, checkpoints=3, **(RECIPE | {"epochs": 8}))
        else:
            with pytest.raises(ConvlensError, match="other files"):
                train(archive, out=out, **RECIPE)
        for name in ("step-1000.ckpt", "step-2000/model.pt", "step-0003000/notes.txt"):
            assert (out / name).exists()

    def test_a_run_without_its_description_keeps_its_weights(self, archive, trained, tmp_path):
        shutil.copytree(trained[0], tmp_path / "run")
        (tmp_path / "run" / DESCRIPTION).unlink()
        with pytest.raises(ConvlensError, match="other files"):
            train(archive, out=tmp_path / "run", **RECIPE)
        assert len(list((tmp_path / "run").glob("*/weights.safetensors"))) >= 3

    def test_in_use(self, archive, tmp_path):
        started, refused = threading.Event(), []

        def second(stage, done, total):
            if not started.is_set():
                started.set()
                with pytest.raises(ConvlensError, match="in use by another training") as caught:
                    train(archive, out=tmp_path / "run", **RECIPE)
                refused.append(caught)

        train(archive, out=tmp_path / "run", progress=second, **RECIPE)
        assert refused

    def test_loss_that_is_no_number(self, archive, tmp_path):
        out = tmp_path / "run"
        with pytest.raises(ConvlensError, match=r"became NaN .* --learning-rate 1e\+29") as caught:
            train(archive, out=out, learning_rate=1e30, save_every=1e-9, **RECIPE)
        assert "\n" not in str(caught.value)
        expected = weights(out)
        assert all(bool(tensor.isfinite().all()) for tensor in expected.values())
        assert convlens.load(f"{out}@last").size == (12, 12)

    def test_too_little_memory(self, archive, tmp_path, monkeypatch):
        monkeypatch.setattr("convlens.training.batch_size.available_memory", lambda: 2**20)
        with pytest.raises(ConvlensError, match=r"--batch \d+ would fit") as caught:
            train(archive, out=tmp_path / "run", **(RECIPE | {"batch": 100}))
        fits = int(str(caught.value).partition("--batch ")[2].split()[0])
        assert 0 < fits < 100
        train(archive, out=tmp_path / "run2", **(RECIPE | {"batch": fits}))
        with pytest.raises(ConvlensError, match="would fit"):
            train(archive, out=tmp_path / "run3", **(RECIPE | {"batch": fits + 1}))

    def test_memory_that_runs_out_after_all(self, archive, tmp_path, monkeypatch):
        def full(*_):
            raise torch.OutOfMemoryError("CUDA out of memory.")

        monkeypatch.setattr(torch.nn.Conv2d, "forward", full)
        monkeypatch.setattr("convlens.training.run.check_batch_fits", lambda *_: None)
        monkeypatch.setattr("convlens.training.batch_size.check_batch_fits", lambda *_: None)
        with pytest.raises(ConvlensError, match=r"20 images for each step .* --batch 10"):
            train(archive, out=tmp_path / "run", **RECIPE)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"network": "lenet"}, "no network 'lenet'; nearest: lenet5"),
            ({"pooling": "maxx"}, "no pooling 'maxx'; nearest: max"),
            ({"center": "middle"}, "no center 'middle'"),
            ({"epochs": 0}, "epochs 0; give at least 1"),
            ({"learning_rate": 0.0}, "above 0"),
            ({"erase": 1.5}, "less than 1"),
            ({"checkpoints": 1}, "at least 2"),
            ({"bach": 3}, "no 'bach'; nearest: batch"),
            ({"log": "paper"}, "csv or tensorboard"),
            ({"device": "tpu"}, "give auto, cpu"),
            ({"strategy": "fsdp"}, "give auto, ddp"),
            ({"precision": "12"}, "'12' is invalid"),
            ({"devices": 0}, "at least 1"),
            ({"save_every": 0}, "more than 0"),
        ],
    )
    def test_choices(self, archive, tmp_path, options, words):
        with pytest.raises(ConvlensError, match=words) as caught:
            train(archive, out=tmp_path / "run", **(RECIPE | options))
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "run" / DESCRIPTION).exists()


def test_memory_estimate_is_near_what_torch_keeps():
    """What a batch of 40 keeps for its gradients, counted by torch, is what was said for it."""
    network = build("allconv", size=28, channels=1, classes=10)
    image = torch.randn(1, 28, 28)
    saved = {}

    def keep(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = network(image.expand(40, -1, -1, -1).contiguous())
    assert output.requires_grad
    needed = sum(saved.values())

    def fits(free):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("convlens.training.batch_size.available_memory", lambda: int(free))
            try:
                check_batch_fits(network, image, 40)
            except ConvlensError:
                return False
        return True

    assert not fits(needed)
    assert fits(1.6 * needed)


def test_tensorboard(archive, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = train(archive, out=tmp_path / "run", log="tensorboard", **RECIPE)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    scalars = events.Scalars("validation_accuracy")
    assert [event.step for event in scalars] == [row["step"] for row in result.history]
    expected = [row["validation_accuracy"] for row in result.history]
    assert [event.value for event in scalars] == pytest.approx(expected)
