"""The Ray engine gives the results of the local engine, bit for bit.

The local engine is another program: one loop in one process.
"""

from textwrap import dedent
from typing import Any

import pytest
import torch

import convlens
from convlens import RayEngine, gradcams, patches, robustness, shift
from convlens.passes.options import PassOptions
from support.ray_cluster import RAY_WARNINGS, SIZE, model, same, third_node

pytest_plugins = "support.ray_cluster"

pytestmark = RAY_WARNINGS


class TestSameResult:
    @pytest.mark.parametrize(
        "engine",
        [RayEngine(actors=1, block=3, handovers=1), RayEngine(actors=2, block=1, handovers=3)],
    )
    def test_patches(self, cluster, paths, engine):
        """For several numbers of actors, blocks and parts; four photos tie for every place."""
        labels = [(number % 3,) for number in range(len(paths))]
        options: dict[str, Any] = {"labels": labels, "top": 5, "show": 2}
        alone = patches(model(), paths, **options, pass_options=PassOptions(batch_size=4))
        spread = patches(
            model(), paths, **options, pass_options=PassOptions(engine=engine, batch_size=4)
        )
        assert spread.images_read == 43
        assert len(spread.skipped) == 2
        assert spread.skipped == alone.skipped
        for layer, other in zip(alone.layers, spread.layers, strict=True):
            for name, value in vars(layer).items():
                if isinstance(value, torch.Tensor):
                    assert torch.equal(value.nan_to_num(), getattr(other, name).nan_to_num()), name
        assert same(alone, spread)

    @pytest.mark.slow
    def test_the_first_of_equals_wins_on_three_nodes(self, cluster, folder, tmp_path):
        """All photos alike: the tables hold the first ones, whoever was quicker."""
        alike = []
        for number in range(40):
            alike.append(tmp_path / f"{number:02}.png")
            alike[-1].write_bytes((folder / "03.png").read_bytes())
        with third_node(cluster):
            result = patches(
                model(),
                alike,
                pass_options=PassOptions(batch_size=2, engine=RayEngine(block=1)),
                top=3,
                show=0,
            )
        for layer in result.layers:
            living = layer.values[:, 0] > 0
            assert living.any()
            assert layer.images[living].tolist() == [[0, 1, 2]] * int(living.sum())

    def test_gradcam(self, cluster, paths, tmp_path):
        """Folders and files, byte for byte."""
        for name, engine in (("alone", None), ("spread", RayEngine(actors=2, block=1))):
            gradcams(
                model(),
                paths[:14],
                out=tmp_path / name,
                top=2,
                pass_options=PassOptions(batch_size=4, engine=engine),
                deletion_insertion=True,
            )
        files = sorted(
            path.relative_to(tmp_path / "alone")
            for path in (tmp_path / "alone").rglob("*") if path.is_file()
        )  # fmt: skip
        assert len(files) > 13 * 5
        for file in files:
            first, second = ((tmp_path / name / file).read_bytes() for name in ("alone", "spread"))
            assert first == second, file

    @pytest.mark.slow
    def test_fgsm_out_of_a_table(self, cluster, paths, tmp_path):
        """Bytes in Parquet, the rows in several row groups that no batch is aligned with."""
        import pyarrow as pa
        from pyarrow import parquet

        rows = pa.table({"image": [path.read_bytes() for path in paths]})
        parquet.write_table(rows, tmp_path / "photos.parquet", row_group_size=7)
        dataset = convlens.ParquetPhotos(tmp_path / "photos.parquet")
        labels = [(number % 4,) for number in range(len(paths))]
        options: dict[str, Any] = {"labels": labels, "pgd_steps": 3}
        alone = robustness(model(), paths, **options, pass_options=PassOptions(batch_size=4))
        spread = robustness(
            model(),
            dataset,
            pass_options=PassOptions(batch_size=4, engine=RayEngine(actors=2, block=2)),
            **options,
        )
        assert spread.curves[0].correct == alone.curves[0].correct
        assert [sentence.split()[0] for sentence in spread.skipped] == [
            "photos-000007",
            "photos-000030",
        ]

    def test_fgsm(self, cluster, paths):
        labels = [(number % 4,) for number in range(len(paths))]
        options: dict[str, Any] = {"labels": labels, "pgd_steps": 3}
        alone = robustness(model(), paths, **options, pass_options=PassOptions(batch_size=4))
        spread = robustness(
            model(),
            paths,
            pass_options=PassOptions(batch_size=4, engine=RayEngine(actors=2, block=1)),
            **options,
        )
        assert alone.images == 43
        assert same(alone, spread)

    @pytest.mark.slow
    def test_check_and_diff(self, cluster, paths):
        """Findings and answers, and the photos whose answers are kept, out of many parts."""
        labels = [(number % 4,) for number in range(len(paths))]
        limits = convlens.CheckThresholds(accuracy=0.5, class_accuracy=0.1)
        one_process = PassOptions(batch_size=4)
        by_ray = PassOptions(batch_size=4, engine=RayEngine(actors=2, block=1))
        checks = [
            convlens.check(model(), paths, labels, thresholds=limits, pass_options=options)
            for options in (one_process, by_ray)
        ]
        assert checks[0].images == 43
        assert checks[0]["accuracy"].value is not None
        assert same(*checks)
        changes = [
            convlens.diff(
                model(), model(seed=1), paths, labels=labels, parts=(), pass_options=options
            ).answers
            for options in (one_process, by_ray)
        ]
        assert len(changes[0].pairs) > 10
        assert same(*changes)

    @pytest.mark.slow
    def test_shift(self, cluster, paths):
        alone = shift(model(), paths, pass_options=PassOptions(batch_size=4), every=4)
        spread = shift(
            model(),
            paths,
            pass_options=PassOptions(batch_size=4, engine=RayEngine(actors=2, block=1)),
            every=4,
        )
        assert alone.images == 43
        assert same(alone, spread)

    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
    def test_images_in_memory(self, cluster, layout):
        images = torch.rand(21, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
        images = images.contiguous(memory_format=layout)
        options: dict[str, Any] = {"show": 0, "top": 3}
        alone = patches(model(), images, **options, pass_options=PassOptions(batch_size=4))
        assert same(
            alone,
            patches(
                model(),
                images,
                pass_options=PassOptions(batch_size=4, engine=RayEngine(actors=1)),
                **options,
            ),
        )

    @pytest.mark.slow
    def test_a_factory_that_workers_cannot_import(self, cluster, paths, tmp_path, monkeypatch):
        """Its classes are sent along."""
        (tmp_path / "ours.py").write_text(
            dedent("""
            from torch import nn
            class Ours(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.stem = nn.Conv2d(3, 4, 3)
                    self.head = nn.Linear(4, 3)
                def forward(self, x):
                    return self.head(self.stem(x).relu().mean((2, 3)))
        """)
        )
        wrapped = convlens.load(f"python:{tmp_path / 'ours.py'}:Ours", size=SIZE)
        alone = patches(wrapped, paths[:6], pass_options=PassOptions(batch_size=4), show=0)
        assert same(
            alone,
            patches(
                wrapped,
                paths[:6],
                pass_options=PassOptions(batch_size=4, engine=RayEngine(actors=1)),
                show=0,
            ),
        )

    @pytest.mark.slow
    def test_relative_paths(self, cluster, paths, monkeypatch):
        monkeypatch.chdir(paths[0].parent)
        near = [path.name for path in paths[:6]]
        alone = patches(model(), near, pass_options=PassOptions(batch_size=4), show=0)
        assert alone.photos[0] == "00.png"
        assert same(
            alone,
            patches(model(), near, pass_options=PassOptions(batch_size=4, engine="ray"), show=0),
        )
