"""Actors, nodes and drivers that die during a pass on Ray; interrupts and damaged photos."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from convlens import ConvlensError, PhotoError, RayEngine, patches
from convlens.data.datasets.photo_dataset import PhotoFiles
from convlens.passes.options import PassOptions
from convlens.passes.run import run_pass
from convlens.passes.source import PhotoSource
from convlens.results import Result
from support.folders import TESTS
from support.ray_cluster import (
    RAY_WARNINGS,
    Count,
    Dying,
    Failing,
    counted,
    model,
    same,
    third_node,
)

pytest_plugins = "support.ray_cluster"

pytestmark = RAY_WARNINGS


def iter_of_none():
    yield None


@pytest.mark.slow
class TestFaults:
    @pytest.mark.parametrize("dies_at", [(0,), (17, 41)])
    def test_an_actor_dies(self, cluster, tmp_path, dies_at):
        done = counted(60, RayEngine(block=1), Count(60, deaths_folder=tmp_path, dies_at=dies_at))
        assert {int(path.name) for path in tmp_path.iterdir()} == set(dies_at)
        assert done.state["seen"].tolist() == [1] * 60

    def test_a_node_dies(self, cluster):
        """In the middle, with what its actor held and what was decoded there."""
        messages = []
        with third_node(cluster) as node:

            def tell(done, total):
                messages.append(done)
                if done >= 40 and node in cluster.list_all_nodes():
                    cluster.remove_node(node, allow_graceful=False)

            work = Count(240, slow=0.02)
            done = counted(240, RayEngine(actors=3, block=1, handovers=2), work, progress=tell)
            assert node not in cluster.list_all_nodes()
        assert done.state["seen"].tolist() == [1] * 240
        assert messages[-1] == 240

    @pytest.mark.parametrize("block", [1, 2])
    def test_workers_that_always_die(self, cluster, block):
        """With one block a round one worker dies in each, with two sometimes two."""
        with pytest.raises(ConvlensError, match="4 workers died one after the other"):
            counted(4, RayEngine(actors=1, block=block), Dying(4))

    def test_rounds_that_bring_nothing(self, cluster, monkeypatch):
        monkeypatch.setattr(RayEngine, "_run_round", lambda *args: iter_of_none())
        with pytest.raises(
            ConvlensError, match="no worker returned a result for 2 batches in 3 rounds"
        ):
            counted(4, RayEngine(actors=1))

    def test_the_driver_is_killed(self, cluster, paths, tmp_path):
        """Killed when something was saved, the same command with --resume ends like one."""
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        out, factory = tmp_path / "out", tmp_path / "factory.py"
        factory.write_text(
            dedent(f"""
            import sys
            sys.path.insert(0, {str(TESTS)!r})
            from support.ray_cluster import RAY_WARNINGS, model as make
        """)
        )
        script = tmp_path / "run.py"
        script.write_text(
            dedent(f"""
            import os, signal, sys
            import torch
            import convlens, convlens.passes.saved_state as saved_state
            from convlens.cli.inputs import resumable_folder
            from convlens.analyses.patches.dataset_pass import patches
            sys.path.insert(0, {str(TESTS)!r})
            from pathlib import Path
            from support.ray_cluster import RAY_WARNINGS, model
            torch.set_num_threads(1)
            if sys.argv[1] == "first":
                save = saved_state.save
                def save_and_die(*arguments):
                    save(*arguments)
                    if arguments[3].count:
                        os.kill(os.getpid(), signal.SIGKILL)
                saved_state.save = save_and_die
            else:
                read = saved_state.read
                def read_and_print(*arguments):
                    state = read(*arguments)
                    print("finished", state[0].count)
                    return state
                saved_state.read = read_and_print
            paths = sorted(Path({str(paths[0].parent)!r}).glob("*.png"))
            out = Path({str(out)!r})
            with resumable_folder(out, resume=sys.argv[1] != "first") as folder:
                pass_options = convlens.PassOptions(
                    batch_size=2, resume_folder=folder, save_interval=0.0,
                    engine=convlens.RayEngine({cluster.address!r}, block=1))
                patches(model(), paths, show=2, pass_options=pass_options).save(out)
        """)
        )
        first = subprocess.run([sys.executable, script, "first"], env=env, capture_output=True,
                               text=True, check=False, timeout=300)  # fmt: skip
        assert first.returncode == -signal.SIGKILL, first.stderr
        assert not out.exists()
        second = subprocess.run([sys.executable, script, "again"], env=env, capture_output=True,
                                text=True, check=False, timeout=300)  # fmt: skip
        assert second.returncode == 0, second.stderr
        finished = int(second.stdout.split()[1])
        assert 0 < finished < 45
        alone = patches(model(), paths, pass_options=PassOptions(batch_size=2), show=2)
        assert same(alone, Result.load(out))

    def test_an_interrupt_keeps_what_there_is(self, cluster, tmp_path):
        sent = []

        def stop(done, total):
            if done >= 30 and not sent:
                sent.append(done)
                os.kill(os.getpid(), signal.SIGINT)

        saved: dict[str, Any] = {"resume_folder": tmp_path / "kept"}
        work = Count(80, slow=0.02)
        with pytest.raises(ConvlensError, match=r"interrupted after (\d+) of 80") as raised:
            counted(80, RayEngine(block=1, handovers=1), work, progress=stop, **saved)
        assert 30 <= int(str(raised.value).split()[2]) < 80
        messages = []
        done = counted(80, RayEngine(), work, progress=lambda at, of: messages.append(at), **saved)
        assert messages[0] >= 30
        assert done.state["seen"].tolist() == [1] * 80

    def test_errors_of_the_work_come_through(self, cluster):
        with pytest.raises(ConvlensError, match=r"^NaN in the activations of photo 3$"):
            counted(4, RayEngine(actors=1), Failing(4))

    def test_a_damaged_photo_ends_a_strict_pass(self, cluster, paths):
        with pytest.raises(PhotoError, match=r"(07|30)\.png"):
            patches(
                model(),
                paths,
                pass_options=PassOptions(batch_size=4, engine=RayEngine(actors=1)),
                strict=True,
            )

    def test_photos_that_only_this_machine_sees(self, cluster, paths):
        """They are not left out as if they were damaged."""

        class Here(PhotoFiles):
            def __init__(self, paths):
                super().__init__(paths)
                self.process = os.getpid()

            def __getitem__(self, number):
                there = os.getpid() != self.process and number == 2
                return Path("/nowhere.png") if there else super().__getitem__(number)

        source = PhotoSource(model(), Here(paths[:6]))
        with pytest.raises(ConvlensError, match=r"02\.png can be read here, and not where"):
            run_pass(
                model(),
                Count(6),
                source,
                pass_options=PassOptions(engine=RayEngine(actors=1), batch_size=4),
            )
