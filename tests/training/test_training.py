"""A whole training: what it learns, saves and logs, and what it does not depend on."""

import csv
import random

import pytest
import torch

import convlens
from convlens import build, open_data, train
from convlens.models.loading.specs import DESCRIPTION
from support.fork_server import run_program
from support.tensors import same_tensors
from support.trained_runs import RECIPE, weights

pytest_plugins = "support.trained_runs"


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
        assert names - {".lock"} == {
            *expected,
            DESCRIPTION,
            "log.csv",
            "curves.png",
            "photos",
            "index.html",
            "contact-sheet.png",
        }
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
        assert same_tensors(before, weights(out))

    def test_the_result_is_saved_and_loaded(self, trained, tmp_path):
        _, result, _ = trained
        result.save(tmp_path / "result")
        assert convlens.Result.load(tmp_path / "result") == result


def test_seed_decides_everything(archive, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(random.randrange(1000))
        train(archive, out=tmp_path / name, seed=seed, **RECIPE)
    assert same_tensors(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same_tensors(weights(tmp_path / "a"), weights(tmp_path / "c"))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_callers_gradient_mode_does_not_matter(archive, tmp_path, mode):
    train(archive, out=tmp_path / "plain", **RECIPE)
    with mode():
        train(archive, out=tmp_path / "run", **RECIPE)
    assert same_tensors(weights(tmp_path / "plain"), weights(tmp_path / "run"))


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


@pytest.mark.slow
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


def test_tensorboard_has_the_accuracy_of_each_epoch(archive, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = train(archive, out=tmp_path / "run", log="tensorboard", **RECIPE)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    scalars = events.Scalars("validation_accuracy")
    assert [event.step for event in scalars] == [row["step"] for row in result.history]
    expected = [row["validation_accuracy"] for row in result.history]
    assert [event.value for event in scalars] == pytest.approx(expected)
