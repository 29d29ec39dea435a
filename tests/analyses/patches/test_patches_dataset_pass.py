"""Patches over folders of photos: stopped, killed, resumed, and with damaged photos."""

import os
import random
import signal
import textwrap
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from convlens import ConvlensError, patches, robustness, trace, wrap
from convlens.analyses.patches import top_k
from convlens.analyses.patches.top_patches import TopPatchesReducer
from convlens.data.photo_decoder import PhotoDecoder
from convlens.passes.options import PassOptions
from convlens.passes.run import run_reducer
from convlens.passes.source import PhotoSource, TensorSource
from convlens.tracing.selection import find_channel_sources
from support.branches import SIZE, images, network
from support.fork_server import run_program


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(24):
        pixels = rng.integers(0, 256, (30, 34, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(where / f"{number:02d}.png")
    return where


class TestPass:
    def model(self):
        return wrap(network(), size=SIZE, resize=SIZE)

    def test_photos_and_their_images_give_the_same(self, folder):
        paths = sorted(folder.glob("*.png"))
        model = self.model()
        from_photos = patches(model, paths, show=2, pass_options=PassOptions(batch_size=5))
        from_images = patches(
            model, model.prepare(paths), show=2, pass_options=PassOptions(batch_size=5)
        )
        for a, b in zip(from_photos.layers, from_images.layers, strict=True):
            for name in ("values", "images", "rows", "columns", "histogram", "band_images"):
                assert torch.equal(getattr(a, name), getattr(b, name))
            for c, d in zip(a.shown, b.shown, strict=True):
                assert torch.equal(c.tiles, d.tiles)
        shuffled = random.Random(1).sample(paths, len(paths))
        assert (
            patches(model, shuffled, show=2, pass_options=PassOptions(batch_size=5)) == from_photos
        )

    def test_photos_are_decoded_once_for_the_crops_of_all_layers(self, folder, monkeypatch):
        paths = sorted(folder.glob("*.png"))[:4]
        decoded, decode = [], PhotoDecoder._decode

        def count(decoder, photo):
            decoded.append(photo)
            return decode(decoder, photo)

        monkeypatch.setattr(PhotoDecoder, "_decode", count)
        result = patches(self.model(), paths, show=3)
        assert len(result.layers) > 2
        assert sorted(decoded) == sorted(2 * paths)  # once for the pass

    def test_damaged_photos_are_left_out_and_named(self, folder, tmp_path):
        paths = sorted(folder.glob("*.png"))[:6]
        bad = tmp_path / "bad.png"
        bad.write_bytes(b"\x89PNG")
        result = patches(self.model(), [*paths, bad], show=1, top=2)
        assert result.images_read == 6
        assert "bad.png" in result.skipped[0]
        with pytest.raises(ConvlensError, match=r"bad\.png"):
            patches(self.model(), [*paths, bad], strict=True)
        with pytest.raises(ConvlensError, match="none of 1 photos can be read"):
            patches(self.model(), [bad])

    def test_progress_counts_photos(self, folder):
        calls = []
        patches(
            self.model(),
            sorted(folder.glob("*.png")),
            show=1,
            pass_options=PassOptions(batch_size=10, progress=lambda *call: calls.append(call)),
        )
        assert [call for call in calls if call[0] == "photos"] == [
            ("photos", done, 24) for done in (0, 10, 20, 24)
        ]

    def test_resumed_passes_are_whole(self, folder, tmp_path):
        """A pass that was stopped and resumed counts each image once."""
        paths = sorted(folder.glob("*.png"))
        model = self.model()
        model_trace = trace(model)
        reducer = TopPatchesReducer(find_channel_sources(model_trace, None), top=3)
        expected = run_reducer(
            model,
            model_trace,
            reducer,
            PhotoSource(model, paths),
            pass_options=PassOptions(batch_size=4),
        )

        def stop(stage, done, total):
            if done in (8, 16):
                os.kill(os.getpid(), signal.SIGINT)

        for _ in range(2):
            with pytest.raises(ConvlensError, match="interrupted after"):
                run_reducer(
                    model,
                    model_trace,
                    reducer,
                    PhotoSource(model, paths),
                    pass_options=PassOptions(
                        batch_size=4, resume_folder=tmp_path / "kept", progress=stop
                    ),
                )
        finished = run_reducer(
            model,
            model_trace,
            reducer,
            PhotoSource(model, paths),
            pass_options=PassOptions(batch_size=4, resume_folder=tmp_path / "kept"),
        )
        assert finished.images_read == 24
        for name, tensor in expected.state.items():
            assert torch.equal(finished.state[name], tensor), name

    def test_another_pass_is_refused(self, folder, tmp_path):
        paths = sorted(folder.glob("*.png"))[:8]
        model, resume_folder = self.model(), tmp_path / "kept"
        patches(model, paths, show=0, pass_options=PassOptions(resume_folder=resume_folder))
        with pytest.raises(ConvlensError, match=r"different top \(9, now 4\)"):
            patches(
                model, paths, show=0, pass_options=PassOptions(resume_folder=resume_folder), top=4
            )
        with pytest.raises(ConvlensError, match="different layers"):
            patches(
                model,
                paths,
                show=0,
                pass_options=PassOptions(resume_folder=resume_folder),
                layers="stem",
            )
        with pytest.raises(ConvlensError, match="8 images then, 7 now"):
            patches(model, paths[1:], show=0, pass_options=PassOptions(resume_folder=resume_folder))
        other_model = wrap(network(seed=1), size=SIZE, resize=SIZE)
        with pytest.raises(ConvlensError, match="different model"):
            patches(
                other_model, paths, show=0, pass_options=PassOptions(resume_folder=resume_folder)
            )
        with pytest.raises(ConvlensError, match="different model"):
            patches(
                wrap(network(), size=SIZE, resize=SIZE, mean=0.5),
                paths,
                show=0,
                pass_options=PassOptions(resume_folder=resume_folder),
            )
        with pytest.raises(ConvlensError, match="another kind of pass"):
            robustness(model, paths, pass_options=PassOptions(resume_folder=resume_folder))
        os.utime(paths[3], (1, 1))
        with pytest.raises(ConvlensError, match=rf"{paths[3].name} is another file now"):
            patches(model, paths, show=0, pass_options=PassOptions(resume_folder=resume_folder))
        manifest = resume_folder / "manifest.json"
        manifest.write_text(manifest.read_text()[:-20])
        with pytest.raises(ConvlensError, match="is damaged"):
            patches(model, paths, show=0, pass_options=PassOptions(resume_folder=resume_folder))

    @pytest.mark.parametrize("what", ["code", "buffer"])
    def test_a_network_that_computes_otherwise_is_refused(self, folder, tmp_path, what):
        """Both networks have the same weights under the same names."""
        paths, resume_folder = sorted(folder.glob("*.png"))[:8], tmp_path / "kept"

        class Leaky(nn.Module):
            def __init__(self, slope, shift):
                super().__init__()
                torch.manual_seed(0)
                self.stem, self.slope = nn.Conv2d(3, 4, 3), slope
                self.register_buffer("shift", torch.tensor(shift), persistent=False)

            def forward(self, x):
                return nn.functional.leaky_relu(self.stem(x) + self.shift, self.slope).mean((2, 3))

        patches(
            wrap(Leaky(0.0, 0.1), size=SIZE, resize=SIZE),
            paths,
            show=0,
            pass_options=PassOptions(resume_folder=resume_folder),
        )
        patches(
            wrap(Leaky(0.0, 0.1), size=SIZE, resize=SIZE),
            paths,
            show=0,
            pass_options=PassOptions(resume_folder=resume_folder),
        )
        other_network = Leaky(0.5, 0.1) if what == "code" else Leaky(0.0, 0.2)
        with pytest.raises(ConvlensError, match="different model"):
            patches(
                wrap(other_network, size=SIZE, resize=SIZE),
                paths,
                show=0,
                pass_options=PassOptions(resume_folder=resume_folder),
            )

    def test_the_second_pass_is_gone_on_with_too(self, folder, tmp_path):
        paths = sorted(folder.glob("*.png"))
        model, labels = self.model(), [(number % 2,) for number in range(24)]
        whole = patches(model, paths, show=0, labels=labels, pass_options=PassOptions(batch_size=4))
        calls = []

        def stop(stage, done, total):
            calls.append((stage, done))
            if (stage, done) == ("selectivity", 8) and calls.count(("selectivity", 8)) == 1:
                os.kill(os.getpid(), signal.SIGINT)

        options: dict[str, Any] = {"show": 0, "labels": labels}
        pass_options = PassOptions(batch_size=4, resume_folder=tmp_path / "kept", progress=stop)
        with pytest.raises(ConvlensError, match="interrupted after 8 of 24"):
            patches(model, paths, pass_options=pass_options, **options)
        calls.clear()
        again = patches(
            model,
            paths,
            pass_options=replace(pass_options, progress=lambda *call: calls.append(call[:2])),
            **options,
        )
        assert again == whole
        assert [done for stage, done in calls if stage == "photos"] == [24]
        assert next(done for stage, done in calls if stage == "selectivity") == 8

    def test_images_in_memory(self):
        model = self.model()
        model_trace = trace(model)
        reducer = TopPatchesReducer(
            find_channel_sources(model_trace, ["stem"]), top=2, statistics=False
        )
        finished = run_reducer(
            model,
            model_trace,
            reducer,
            TensorSource(images(9)),
            pass_options=PassOptions(batch_size=4),
        )
        assert finished.images_read == 9
        assert {name.partition("/")[2] for name in finished.state} == set(top_k.COLUMNS)


KILLED = """
    import os, signal, sys
    import torch
    torch.set_num_threads(1)
    from pathlib import Path
    import convlens.passes.saved_state as progress
    from support.branches import network, SIZE
    from convlens import PassOptions, patches, wrap

    moment, count = sys.argv[3], int(sys.argv[4])
    seen = 0

    def die_at(name, attribute, half=None):
        original = getattr(progress, attribute)
        def deadly(*arguments):
            global seen
            if moment == name:
                seen += 1
                if seen == count:
                    if half:
                        half(*arguments)
                    os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments)
        setattr(progress, attribute, deadly)

    die_at("half a state", "write_tensors", lambda path, _: path.write_bytes(b"half"))
    die_at("before a file", "atomic_file")
    model = wrap(network(), size=SIZE, resize=SIZE)
    paths = sorted(Path(sys.argv[1]).glob("*.png"))
    pass_options = PassOptions(batch_size=4, resume_folder=Path(sys.argv[2]), save_interval=1e-9)
    patches(model, paths, show=0, pass_options=pass_options)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "count"),
    [("half a state", 3), ("before a file", 1), ("before a file", 6), ("before a file", 7)],
)
def test_killed_while_saving(folder, tmp_path, moment, count):
    resume_folder = tmp_path / "kept"
    status, _, err = run_program(textwrap.dedent(KILLED), [folder, resume_folder, moment, count])
    assert status == -signal.SIGKILL, err
    model = wrap(network(), size=SIZE, resize=SIZE)
    paths = sorted(folder.glob("*.png"))
    whole = patches(model, paths, show=0, pass_options=PassOptions(batch_size=4))
    assert (
        patches(
            model,
            paths,
            show=0,
            pass_options=PassOptions(batch_size=4, resume_folder=resume_folder),
        )
        == whole
    )
