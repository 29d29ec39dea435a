"""Grad-CAM of a folder gives the maps of single photos, also after an interruption."""

import csv
import json
import signal
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convlens
from convlens import ConvlensError, PhotoError, gradcam, gradcams, wrap
from convlens.analyses.gradcam import batch_work, dataset_pass
from convlens.analyses.gradcam.boxes import ObjectBox
from convlens.analyses.gradcam.layers_result import GradCamLayers
from convlens.analyses.gradcam.options import GradCamOptions
from convlens.analyses.gradcam.pointing_game import PointingTotals
from convlens.analyses.gradcam.result import GradCam
from convlens.data.datasets.photo_dataset import PhotoFiles
from convlens.passes.options import PassOptions
from convlens.results import Result
from convlens.results.folder import picture_files
from convlens.runtime.guard import preserve_network
from support.fork_server import run_program
from support.labeled_model import model

SIZE = 32


@pytest.fixture
def paths(tmp_path):
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    generator = np.random.default_rng(0)
    photo_paths = []
    for number in range(7):
        path = folder / ("more/0.png" if number == 6 else f"{number}.png")
        Image.fromarray(generator.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)
        photo_paths.append(path)
    return photo_paths


def table(result):
    with result.table_path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_maps_are_those_of_gradcam_one_by_one(tmp_path, paths):
    network = model()
    result = gradcams(
        network,
        paths,
        out=tmp_path / "out",
        classes=["bee", "cat - dog"],
        pass_options=PassOptions(batch_size=3),
    )
    assert result.photos == ("photos-0.png", *(f"{each}.png" for each in range(1, 6)), "more-0.png")
    rows = iter(table(result))
    numbers = json.loads(result.numbers_path.read_text())
    highest = 0.0
    for path, name in zip(paths, result.photos, strict=True):
        alone = gradcam(network, network.prepare(path), classes=["bee", "cat - dog"])
        cam = result[name]
        torch.testing.assert_close(cam.maps, alone.maps, rtol=1e-4, atol=1e-7)
        assert torch.equal(cam.images, alone.images) and cam.names == alone.names
        assert numbers["photos"][name] == json.loads(json.dumps(cam.to_json()))
        highest = max(highest, cam.scale)
        for rank in range(2):
            row, peak = next(rows), cam.statistics(0, rank)
            assert (row["photo"], row["class"]) == (name, alone.names[0][rank])
            for column, expected in (
                ("logit", cam.scores[0, rank]), ("probability", cam.probabilities[0, rank]),
                ("minimum", peak.minimum), ("maximum", peak.maximum), ("row", peak.row),
                ("column", peak.column), ("positive_cells", peak.positive_cells),
                ("cells", peak.cells),
            ):  # fmt: skip
                assert torch.tensor(float(row[column])).float() == torch.tensor(float(expected))
    assert next(rows, None) is None
    assert result.scales == (highest,)
    # All pictures share one scale.
    name = min(result.photos, key=lambda name: result[name].scale)
    assert result[name].scale < highest
    drawn = result[name].pictures(scale=highest)  # type: ignore[call-arg]
    files = {path.name for path in (tmp_path / "out" / name).glob("*.png")}
    assert len(files) == 2
    assert files == set(picture_files(list(drawn), photo=name))
    for file, expected in zip(picture_files(list(drawn), photo=name), drawn.values(), strict=True):
        picture = Image.open(tmp_path / "out" / name / file)
        assert np.array_equal(np.array(picture), expected.numpy())


def test_highest_classes_of_each_photo(tmp_path, paths):
    network = model()
    result = gradcams(network, paths[:3], out=tmp_path / "out", top=2)
    for path, name in zip(paths[:3], result.photos, strict=True):
        assert result[name].names == gradcam(network, network.prepare(path), top=2).names


@pytest.mark.parametrize(
    "stopped_at",
    [
        pytest.param(1, marks=pytest.mark.slow),
        4,
        pytest.param(6, marks=pytest.mark.slow),
        pytest.param("pictures", marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_gives_the_same(tmp_path, paths, monkeypatch, stopped_at):
    network = model()
    options: dict[str, Any] = {"classes": ["ant"], "deletion_insertion": True}
    whole = PassOptions(batch_size=2)
    gradcams(network, paths, out=tmp_path / "whole", pass_options=whole, **options)
    resume_folder, count, real, draw = (
        tmp_path / "parts.unfinished",
        [0],
        GradCam.save_data,
        batch_work.write_pictures,
    )
    resumable = PassOptions(batch_size=2, resume_folder=resume_folder, save_interval=0.0)

    def tripping(method):
        def step(self, *arguments, **words):
            count[0] += 1
            if count[0] == (4 if stopped_at == "pictures" else stopped_at):
                raise KeyboardInterrupt
            return method(self, *arguments, **words)

        return step

    if stopped_at == "pictures":
        monkeypatch.setattr(batch_work, "write_pictures", tripping(draw))
    else:
        monkeypatch.setattr(GradCam, "save_data", tripping(real))
    with pytest.raises(KeyboardInterrupt):
        gradcams(network, paths, out=tmp_path / "parts", pass_options=resumable, **options)
    assert not (tmp_path / "parts").exists()
    monkeypatch.setattr(batch_work, "write_pictures", draw)
    count[0] = 0
    if (resume_folder / "photos").is_dir():
        # A half-written folder, as a run leaves it that is killed while it writes.
        (resume_folder / "photos" / ".convlens-0123").mkdir()
        (resume_folder / "photos" / ".convlens-0123" / "result.json").write_text("{")

    def counting(self, folder):
        count[0] += 1
        real(self, folder)

    monkeypatch.setattr(GradCam, "save_data", counting)
    gradcams(network, paths, out=tmp_path / "parts", pass_options=resumable, **options)
    # Batches that were saved are not computed again.
    assert count[0] == {1: 7, 4: 5, 6: 3, "pictures": 0}[stopped_at]
    assert content(tmp_path / "parts") == content(tmp_path / "whole")


def test_somebody_elses_folder_is_refused_before_any_work(tmp_path, paths, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("mine")
    monkeypatch.setattr(GradCam, "save_data", lambda self, folder: pytest.fail("work was done"))
    for folder in (None, tmp_path / "u"):
        with pytest.raises(ConvlensError, match="holds other files"):
            gradcams(
                model(), paths, out=tmp_path / "out", pass_options=PassOptions(resume_folder=folder)
            )
    assert (tmp_path / "out" / "precious.txt").read_text() == "mine"


def test_folder_of_another_run_is_refused(tmp_path, paths, monkeypatch):
    network, resume_folder = model(), tmp_path / "u"
    monkeypatch.setattr(dataset_pass, "write_tables", lambda *rest, **words: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        gradcams(
            network,
            paths,
            out=tmp_path / "out",
            pass_options=PassOptions(resume_folder=resume_folder),
            classes=[0],
        )
    with pytest.raises(ConvlensError, match="different classes"):
        gradcams(
            network,
            paths,
            out=tmp_path / "out",
            pass_options=PassOptions(resume_folder=resume_folder),
            classes=[1],
        )


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from convlens import PassOptions, gradcams
    from convlens.analyses.gradcam.result import GradCam
    from support.labeled_model import model

    real, count = GradCam.save_data, [0]

    def keep(self, folder):
        count[0] += 1
        if count[0] == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        real(self, folder)

    GradCam.save_data = keep
    pass_options = PassOptions(resume_folder=Path(sys.argv[2]))
    gradcams(model(), sys.argv[3:], out=sys.argv[1], pass_options=pass_options)
"""


@pytest.mark.slow
def test_killed_before_the_first_save_it_refuses_other_photos(tmp_path, paths):
    """The resume folder knows its photos before the first save, and refuses other photos."""
    out, resume_folder = tmp_path / "out", tmp_path / "u"
    status, _, err = run_program(dedent(KILLED), [out, resume_folder, *paths[:5]])
    assert status == -signal.SIGKILL, err
    assert len(list((resume_folder / "photos").iterdir())) == 3
    with pytest.raises(ConvlensError, match="5 images then, 2 now"):
        gradcams(model(), paths[5:], out=out, pass_options=PassOptions(resume_folder=resume_folder))
    with pytest.raises(ConvlensError, match="different top"):
        gradcams(
            model(),
            paths[:5],
            out=out,
            pass_options=PassOptions(resume_folder=resume_folder),
            top=2,
        )
    gradcams(model(), paths[:5], out=out, pass_options=PassOptions(resume_folder=resume_folder))
    gradcams(model(), paths[:5], out=tmp_path / "whole")
    assert content(out) == content(tmp_path / "whole")


def test_a_run_that_did_nothing_leaves_nothing(tmp_path, paths, monkeypatch):
    monkeypatch.setattr(GradCam, "save_data", lambda self, folder: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        gradcams(
            model(),
            paths,
            out=tmp_path / "out",
            pass_options=PassOptions(resume_folder=tmp_path / "u"),
        )
    assert not (tmp_path / "u").exists()
    assert not (tmp_path / "out").exists()


def test_a_target_is_not_gone_on_with(tmp_path, paths):
    with pytest.raises(ConvlensError, match="a target is a function"):
        gradcams(
            model(),
            paths,
            out=tmp_path / "o",
            pass_options=PassOptions(resume_folder=tmp_path / "u"),
            target=torch.sum,
        )


def test_damaged_photos_are_left_out_and_named(tmp_path, paths):
    paths[1].write_bytes(b"\x89PNG rubbish")
    paths[4].write_bytes(b"")
    result = gradcams(model(), paths, out=tmp_path / "out", pass_options=PassOptions(batch_size=2))
    assert set(result.skipped) == {str(paths[1]), str(paths[4])}
    assert result.photos == ("photos-0.png", "2.png", "3.png", "5.png", "more-0.png")
    assert json.loads(result.numbers_path.read_text())["skipped"] == result.skipped
    with pytest.raises(PhotoError, match=r"1\.png"):
        gradcams(model(), paths, out=tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict").exists()
    with pytest.raises(PhotoError, match="none of 1 photos"):
        gradcams(model(), paths[4:5], out=tmp_path / "none")


@pytest.mark.slow
def test_evidence_boxes_and_the_sanity_check(tmp_path, paths):
    network = model()
    boxes = {
        "1.png": (ObjectBox((2,), 0, 0, 50, 40), ObjectBox((0,), 0, 0, 20, 20)),
        "2.png": (ObjectBox((3, 1), 0, 0, 25, 40),),
    }
    result = gradcams(
        network,
        paths[:4],
        out=tmp_path / "out",
        boxes=boxes,
        deletion_insertion=True,
        randomize=2,
        top=1,
    )
    names = {name: result[name].classes.tolist() for name in result.photos}
    assert names["1.png"] == [[2, 0]] and names["2.png"] == [[3]]
    totals = []
    rows = iter(table(result))
    for path, name in zip(paths, result.photos, strict=False):
        cam: Any = result[name]
        pointed = convlens.pointing_game(cam, [convlens.boxes_on_image(network, path, boxes)])
        totals.append(pointed.totals())
        for rank in range(cam.maps.shape[1]):
            row = next(rows)
            proof = convlens.deletion_insertion(network, cam, rank=rank)
            saved: Any = Result.load(tmp_path / "out" / name / f"deletion-insertion-{rank + 1}")
            torch.testing.assert_close(saved.deletion, proof.deletion)  # another memory layout
            assert saved.names == proof.names
            assert float(row["deletion"]) == pytest.approx(
                float(proof.deletion_areas[0, 0]), rel=1e-5
            )
            assert float(row["insertion_center"]) == pytest.approx(
                float(proof.insertion_areas[0, 2]), rel=1e-5
            )
            if pointed.has_box[0, rank]:
                assert row["hit"] == str(int(pointed.hits[0, rank]))
                assert float(row["energy"]) == pytest.approx(float(pointed.energy[0, rank]))
            else:
                assert row["hit"] == row["energy"] == ""
    assert result.pointing == PointingTotals.sum_of(totals)
    assert result.randomization == Result.load(tmp_path / "out" / "randomization")
    assert result.randomization.correlations.shape[2] == 2
    assert len(result.summary().splitlines()) == 3


def test_strips(tmp_path, paths):
    network = model()
    result = gradcams(network, paths[:2], out=tmp_path / "out", strip=True, classes=[1])
    assert result.layers == ("4", "1")
    strip = result["0.png"]
    assert isinstance(strip, GradCamLayers)
    assert [row["layer"] for row in table(result)] == ["4", "1", "4", "1"]
    assert result.scales == tuple(
        max(result[name].scales[layer] for name in result.photos) for layer in (0, 1)
    )
    named = gradcams(network, paths[:2], out=tmp_path / "out", layers=["1", "4"], classes=[1])
    assert named["0.png"].gradcams[1].maps.equal(strip.gradcams[1].maps)


def test_state_does_not_grow_and_parts_make_the_whole(tmp_path, paths):
    """States of batches, computed in any order and merged, equal the state of one pass."""
    network = model()
    result = gradcams(
        network, paths, out=tmp_path / "out", classes=[0, 1], pass_options=PassOptions(batch_size=2)
    )
    settings = batch_work.MapSettings(options=GradCamOptions(classes=[0, 1]), boxes={})
    work = batch_work.MapWork(network, PhotoFiles(paths), result.photos, settings)
    work.folder = tmp_path / "parts"
    work.folder.mkdir()
    states = []
    for start in (4, 0, 6, 2, 2):  # one of them twice
        ids = torch.arange(start, min(start + 2, 7))
        state = work.initial_state()
        size = sum(tensor.numel() for tensor in state.values())
        images = torch.cat([network.prepare(paths[number]) for number in ids])
        with preserve_network(network.network):
            work.process_batch(state, images, ids)
        assert sum(tensor.numel() for tensor in state.values()) == size == 1
        states.append(state)
    whole = states[0]
    for state in states[1:]:
        whole = work.merge(state, whole)
    assert tuple(whole["scales"].tolist()) == result.scales
    for name in result.photos:
        assert Result.load(work.folder / name) == result[name]


def test_network_that_decides_by_its_data(tmp_path, paths):
    class Deciding(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.bright, self.dark = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
            self.linear = nn.Linear(4, 3)

        def forward(self, x):
            x = self.bright(x) if x.mean().item() > 0.5 else self.dark(x)
            return self.linear(x.relu().mean((2, 3)))

    network = wrap(Deciding(), size=SIZE)
    Image.new("RGB", (50, 50), (250, 240, 255)).save(paths[1])
    Image.new("RGB", (50, 50), (10, 20, 5)).save(paths[2])
    result = gradcams(network, paths[1:3], out=tmp_path / "out")
    assert [result[name].nodes for name in result.photos] == [("bright",), ("dark",)]
