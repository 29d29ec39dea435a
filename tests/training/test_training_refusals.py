"""Trainings that are refused, and their messages."""

import shutil
import threading

import pytest
import torch

import convlens
from convlens import ConvlensError, build, train
from convlens.models.loading.specs import DESCRIPTION
from convlens.training.batch_size import check_batch_fits
from support.tensors import same_tensors
from support.trained_runs import RECIPE, weights

pytest_plugins = "support.trained_runs"


class TestRefusals:
    def test_other_choices_or_data(self, archive, tmp_path):
        out = tmp_path / "run"
        train(archive, out=out, **RECIPE)
        before = weights(out)
        with pytest.raises(ConvlensError, match="with epochs 2, now 3"):
            train(archive, out=out, **(RECIPE | {"epochs": 3}))
        with pytest.raises(ConvlensError, match="with other images or labels"):
            train("digits", out=out, **(RECIPE | {"network": "allconv"}))
        assert same_tensors(before, weights(out))

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
        monkeypatch.setattr("convlens.runtime.memory.available_memory", lambda: 2**20)
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
            patch.setattr("convlens.runtime.memory.available_memory", lambda: int(free))
            try:
                check_batch_fits(network, image, 40)
            except ConvlensError:
                return False
        return True

    assert not fits(needed)
    assert fits(1.6 * needed)
