"""Run folders as models: checkpoints by name, other sizes, checkpoints, and what is damaged."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import convlens
from convlens import ConvlensError, filters_over_training, load, load_checkpoints, train
from convlens.drawing import enlarge
from convlens.models.loading.specs import DESCRIPTION
from support.drawn import corner
from support.fork_server import run_program


def make(folder, network, size=12, **options):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, size, size), dtype=np.uint8)
    path = folder / "noise.npz"
    np.savez(path, images=images, labels=np.arange(30) % 3)
    train(path, out=folder / "run", network=network, epochs=3, batch=9, device="cpu", **options)
    return folder / "run"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make(tmp_path_factory.mktemp("lenet"), "lenet5", checkpoints=3)


def file_of(run, which):
    named = json.loads((run / DESCRIPTION).read_text())["checkpoints"]
    return load_file(run / named.get(which, which) / "weights.safetensors")


@pytest.mark.parametrize("which", ["best", "last", "step-0000000"])
def test_a_checkpoint_by_name(run, which):
    weights = load(f"{run}@{which}").network.state_dict()
    expected = file_of(run, which)
    assert all(torch.equal(weights[key], expected[key]) for key in expected)


def test_the_best_one_is_the_default(run):
    model = load(run)
    expected = file_of(run, "best")["features.0.weight"]
    assert torch.equal(model.network.features[0].weight, expected)
    assert model.spec == str(run)
    assert "trained by convlens on" in model.origin
    assert not model.network.training


def test_a_folder_with_an_at_in_its_name(run, tmp_path):
    (tmp_path / "a@b").symlink_to(run)
    assert load(tmp_path / "a@b").name == load(run).name
    assert load(f"{tmp_path / 'a@b'}@last").size == (12, 12)


def test_an_image_size_that_does_not_fit_names_a_spec_that_does(run):
    with pytest.raises(ConvlensError) as caught:
        load(run, size=20)
    message = str(caught.value)
    assert "stage classifier.0 takes 16 values" in message
    assert "1 x 20 x 20" in message
    with torch.no_grad():  # 13 pixels leave the same single cell
        assert load(run, size=13)(torch.rand(1, 1, 13, 13)).shape == (1, 3)
    advised = message.partition("; ")[2].split()[0]
    model = load(advised, size=20)
    small = torch.rand(2, 1, 12, 12)
    with torch.no_grad():
        assert model(torch.rand(2, 1, 20, 20)).shape == (2, 3)
        assert torch.equal(model(small), load(run)(small))
    assert load(f"{run}@last@average", size=(20, 30)).size == (20, 30)


def test_a_network_without_a_fully_connected_stage_takes_any_size(tmp_path):
    run = make(tmp_path, "allconv", size=8)
    model = load(run, size=(24, 40))
    with torch.no_grad():
        assert model(torch.rand(1, 1, 24, 40)).shape == (1, 3)


def test_a_run_that_cannot_be_loaded_is_refused_with_the_reason(run, tmp_path):
    with pytest.raises(ConvlensError, match="no checkpoint 'bst'; nearest: best"):
        load(f"{run}@bst")
    with pytest.raises(ConvlensError, match="names 2 checkpoints"):
        load(f"{run}@best@last")
    with pytest.raises(ConvlensError, match="no convlens checkpoint"):
        load(tmp_path)
    with pytest.raises(ConvlensError, match="not the folder of a training"):
        load_checkpoints("default")
    described = json.loads((run / DESCRIPTION).read_text())

    def broken(**changes):
        (tmp_path / DESCRIPTION).write_text(json.dumps({**described, **changes}))
        with pytest.raises(ConvlensError) as caught:
            load(tmp_path)
        return str(caught.value)

    assert "was trained by a newer convlens" in broken(format=99)
    assert "was trained by an earlier version" in broken(format=1)
    assert "is damaged: network.name is missing" in broken(network={})
    assert "there is no file" in broken()
    assert "holds no checkpoints" in broken_checkpoints(tmp_path, described)
    (tmp_path / DESCRIPTION).write_text("{")
    with pytest.raises(ConvlensError, match="cannot be read"):
        load(tmp_path)


def broken_checkpoints(folder, described):
    checkpoints = {**described["checkpoints"], "scheduled": []}
    (folder / DESCRIPTION).write_text(json.dumps({**described, "checkpoints": checkpoints}))
    with pytest.raises(ConvlensError) as caught:
        load_checkpoints(folder)
    return str(caught.value)


def test_weights_of_another_network(run, tmp_path):
    described = json.loads((run / DESCRIPTION).read_text())
    (tmp_path / DESCRIPTION).write_text(json.dumps(described))
    folder = tmp_path / described["checkpoints"]["best"]
    folder.mkdir()
    save_file({"conv.weight": torch.zeros(1)}, folder / "weights.safetensors")
    with pytest.raises(ConvlensError, match="missing"):
        load(tmp_path)


class TestFiltersOverTraining:
    def test_filters_are_those_of_the_checkpoints(self, run):
        grown = filters_over_training(load_checkpoints(run))
        assert grown.steps == (0, 2, 9)
        for step, kernels in zip(grown.steps, grown.filters, strict=True):
            expected = file_of(run, f"step-{step:07d}")["features.0.weight"]
            assert torch.equal(kernels.weights, expected)
        every = torch.stack([filter_.weights for filter_ in grown.filters])
        assert grown.scale == float(every.abs().max())
        assert not torch.equal(every[0], every[-1])

    def test_picture_has_a_row_a_filter_and_a_column_a_step(self, run):
        grown = filters_over_training(load_checkpoints(run))
        picture = grown.pictures()["over training"]
        step = 44 // 5 * 5 + 4
        tiles = [enlarge(tile, 8) for tile in grown.filters[0].tiles()]
        top, left = corner(picture, tiles[0])
        for column, filter_ in enumerate(grown.filters):
            for row, tile in enumerate(filter_.tiles()):
                y, x = top + row * step, left + column * step
                assert torch.equal(picture[y : y + 40 : 8, x : x + 40 : 8], tile)

    def test_picture_tells_the_steps(self, run):
        grown = filters_over_training(load_checkpoints(run))
        picture = grown.pictures()["over training"]
        two = replace(grown, steps=(0, 7, 9)).pictures()["over training"]
        rows, columns = (picture != two).any(dim=2).nonzero().T
        assert len(rows) > 0
        assert int(rows.max() - rows.min()) < 12 and int(columns.max() - columns.min()) < 12

    def test_saved_and_loaded(self, run, tmp_path):
        grown = filters_over_training(load_checkpoints(run), layer="features.3")
        grown.save(tmp_path / "grown")
        assert convlens.Result.load(tmp_path / "grown") == grown

    def test_a_run_that_cannot_be_loaded_is_refused_with_the_reason(self, run):
        with pytest.raises(ConvlensError, match="no checkpoints"):
            filters_over_training([])
        other = convlens.wrap(torch.nn.Conv2d(1, 2, 3), size=12)
        with pytest.raises(ConvlensError, match="not of one training"):
            filters_over_training([*load_checkpoints(run), (99, other)])


@pytest.mark.slow
def test_two_commands_from_a_folder_of_photos_to_a_page(tmp_path):
    """What the README promises: train on a folder, then a page about the trained network."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for label, color in (("red", (200, 30, 30)), ("blue", (30, 30, 200))):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(10):
            noise = rng.integers(-30, 30, (20, 24, 3))
            pixels = np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / label / f"{number}.jpg")
    program = (
        "import torch; torch.set_num_threads(1); from convlens.cli import main; import sys; main()"
    )

    def convlens_does(*words):
        status, out, err = run_program(program, words, folder=tmp_path)
        assert status == 0, err
        return out

    output = convlens_does("train", "data", "--out", "my run", "--epochs", 12, "--checkpoints", 3)
    assert "allconv, " in output
    command = next(line for line in output.splitlines() if line.startswith("convlens report"))
    assert command == "convlens report --model 'my run'"
    answer = json.loads((tmp_path / "my run" / DESCRIPTION).read_text())
    assert answer["progress"]["history"][-1]["validation_accuracy"] == 1
    output = convlens_does("report", "data/red", "data/blue", "--model", "my run", "--out", "page")
    assert (tmp_path / "page" / "index.html").stat().st_size > 10_000
    output = convlens_does("filters", "--model", "my run", "--over-training", "--out", "grown")
    assert len(list((tmp_path / "grown").glob("over_training_of_*.png"))) == 1
    output = convlens_does("filters", "--model", "my run", "--over-training", "--json")
    assert json.loads(output)["steps"][0] == 0
    output = convlens_does("gradcam", "data/red/0.jpg", "--model", "my run", "--size", "40x48",
                         "--class", "red", "--out", "cam")  # fmt: skip
    assert "red" in output
