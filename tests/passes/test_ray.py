"""The Ray engine: clusters of two and three nodes on this machine, and what dies in them.

Every table is compared bit for bit with that of the local engine, which is another program: one
loop in one process.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import convlens
from convlens import ConvlensError, PhotoError, RayEngine, gradcams, patches, robustness, shift
from convlens.analyses.attacks.robustness_reducer import RobustnessReducer
from convlens.data.datasets.photo_dataset import PhotoFiles
from convlens.passes.engines import find_engine
from convlens.passes.options import PassOptions
from convlens.passes.ray.packing import holds_distributions, is_sent_by_value, pack
from convlens.passes.ray.planner import make_plan
from convlens.passes.ray.session import ray_session
from convlens.passes.run import run_pass
from convlens.passes.source import PhotoSource
from convlens.results import Result
from convlens.runtime.guard import untouched
from support.folders import TESTS
from support.ray_cluster import SIZE, Count, Dying, Failing, counted, model, same, third_node

ray = pytest.importorskip("ray")

pytest_plugins = "support.ray_cluster"

# Of Ray's own processes: an open file in a thread that ends later, a socket in a test's shutdown.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def iter_of_none():
    yield None


class TestTheSameResult:
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
        assert spread.seen == 43
        assert len(spread.skipped) == 2
        assert spread.skipped == alone.skipped
        for layer, other in zip(alone.layers, spread.layers, strict=True):
            for name, value in vars(layer).items():
                if isinstance(value, torch.Tensor):
                    assert torch.equal(value.nan_to_num(), getattr(other, name).nan_to_num()), name
        assert same(alone, spread)

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

    def test_fgsm_out_of_a_table(self, cluster, paths, tmp_path):
        """Bytes in Parquet, the rows in several row groups that no batch is aligned with."""
        import pyarrow as pa
        from pyarrow import parquet

        rows = pa.table({"image": [path.read_bytes() for path in paths]})
        parquet.write_table(rows, tmp_path / "photos.parquet", row_group_size=7)
        dataset = convlens.ParquetPhotos(tmp_path / "photos.parquet")
        labels = [(number % 4,) for number in range(len(paths))]
        options: dict[str, Any] = {"labels": labels, "steps": 3}
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
        options: dict[str, Any] = {"labels": labels, "steps": 3}
        alone = robustness(model(), paths, **options, pass_options=PassOptions(batch_size=4))
        spread = robustness(
            model(),
            paths,
            pass_options=PassOptions(batch_size=4, engine=RayEngine(actors=2, block=1)),
            **options,
        )
        assert alone.images == 43
        assert same(alone, spread)

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

    def test_relative_paths(self, cluster, paths, monkeypatch):
        monkeypatch.chdir(paths[0].parent)
        near = [path.name for path in paths[:6]]
        alone = patches(model(), near, pass_options=PassOptions(batch_size=4), show=0)
        assert alone.photos[0] == "00.png"
        assert same(
            alone,
            patches(model(), near, pass_options=PassOptions(batch_size=4, engine="ray"), show=0),
        )


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
        with pytest.raises(ConvlensError, match="2 batches came back from none of 3 rounds"):
            counted(4, RayEngine(actors=1))

    def test_the_driver_is_killed(self, cluster, paths, tmp_path):
        """Killed when something was saved, the same command with --resume ends like one."""
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        out, factory = tmp_path / "out", tmp_path / "factory.py"
        factory.write_text(
            dedent(f"""
            import sys
            sys.path.insert(0, {str(TESTS)!r})
            from support.ray_cluster import model as make
        """)
        )
        script = tmp_path / "run.py"
        script.write_text(
            dedent(f"""
            import os, signal, sys
            import torch
            import convlens, convlens.passes.saved_state as progress
            from convlens.cli.inputs import resumable_folder
            from convlens.analyses.patches.dataset_pass import patches
            sys.path.insert(0, {str(TESTS)!r})
            from pathlib import Path
            from support.ray_cluster import model
            torch.set_num_threads(1)
            if sys.argv[1] == "first":
                save = progress.save
                def saved(*given):
                    save(*given)
                    if given[3].count:
                        os.kill(os.getpid(), signal.SIGKILL)
                progress.save = saved
            else:
                done = progress.read
                def read(*given):
                    found = done(*given)
                    print("found", found[0].count)
                    return found
                progress.read = read
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
        worker_pid = int(second.stdout.split()[1])
        assert 0 < worker_pid < 45
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


class TestWhatTravels:
    def test_bytes_do_not_grow_with_the_photos(self, cluster):
        """Each actor sends its state so often, however many there are."""
        for total in (64, 256):
            done = counted(total, RayEngine(actors=2, handovers=3, block=1), _Fixed(total))
            size = 8 * 1000
            assert done.state["seen"].sum() == total
            assert size * 2 <= done.returned_bytes <= size * 2 * (3 + 1)

    def test_progress(self, cluster):
        messages = []
        counted(
            20, RayEngine(actors=1), progress=lambda done, total: messages.append((done, total))
        )
        assert messages[0] == (0, 20)
        assert messages[-1] == (20, 20)
        assert sorted(messages) == messages
        assert len(set(messages)) > 2

    def test_shared_parts_stay_shared_and_buffers_come_whole(self, cluster):
        network = model()
        work = RobustnessReducer(network, (0.1,), None, "margin", 2, 0)
        import pickle

        other, sent = pickle.loads(ray.get(pack(ray, network, work)))
        assert sent.model.network is other.network
        with untouched(network.network), untouched(other.network):
            images = torch.rand(2, 3, SIZE, SIZE)
            assert torch.equal(network(images), other(images))

    def test_what_goes_by_its_name(self, tmp_path):
        """Installed modules do, wherever they are installed; those of a user travel whole."""
        import json

        assert not any(map(is_sent_by_value, (json, np, convlens, torch.nn.functional)))
        assert is_sent_by_value(sys.modules[__name__])
        file = str(tmp_path / "some" / "deep.py")
        deep: Any = SimpleNamespace(__name__="some.deep", __file__=file)
        assert is_sent_by_value(deep)
        holds_distributions.cache_clear()
        (tmp_path / "some-1.dist-info").mkdir()
        assert not is_sent_by_value(deep)

    def test_what_cannot_be_sent(self, cluster):
        work: Any = Count(2)
        work.lock = threading.Lock()
        with pytest.raises(ConvlensError, match="cannot be sent to other processes"):
            counted(2, RayEngine(actors=1), work)


class _Fixed(Count):
    """A state of a thousand numbers, whatever the images."""

    def initial_state(self):
        return {"seen": torch.zeros(1000, dtype=torch.int64)}

    def process_batch(self, state, images, ids):
        state["seen"][0] += len(ids)


def test_decoding_does_without_torch():
    """It doubles what a process needs to start, and there is one of them for each core."""
    code = (
        "import sys, convlens.data.datasets.arrow_batches, convlens.data.datasets.parquet; "
        "print('torch' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"


class TestTheSession:
    def test_nothing_is_reported(self, cluster):
        from ray._common.usage import usage_lib

        with ray_session(None):
            assert not usage_lib.usage_stats_enabled()

    def test_without_ray(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "ray", None)
        with pytest.raises(ConvlensError, match=r"pip install 'convlens\[ray\]'"):
            counted(4, "ray")

    @pytest.mark.parametrize("where", ["auto", "ray://here:1", "here"])
    def test_no_such_cluster(self, monkeypatch, where):
        """Ray itself is asked, without a look at the machine, for all but HOST:PORT."""

        def refused(where, **options):
            raise ConnectionError(f"nothing at {where}\nand a long story")

        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "init", refused)
        monkeypatch.setattr(socket, "create_connection", None)
        reason = rf"^no session of Ray at {where} \(nothing at {where}\)$"
        with pytest.raises(ConvlensError, match=reason):
            counted(4, RayEngine(where))

    def test_a_machine_where_nothing_listens(self, monkeypatch):
        """Said at once, where Ray would try for minutes; also for an address out of RAY_ADDRESS."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "init", None)
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        reason = rf"^no session of Ray at 127.0.0.1:{port} \(nothing listens there; start it with"
        for address in (f"127.0.0.1:{port}", None):
            with pytest.raises(ConvlensError, match=reason):
                counted(4, RayEngine(address))

    def test_a_machine_that_does_not_answer(self, monkeypatch):
        def silent(machine, timeout):
            assert machine == ("fd00::1", 6379)
            raise TimeoutError("timed out")

        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "init", None)
        monkeypatch.setattr(socket, "create_connection", silent)
        with pytest.raises(ConvlensError, match="nothing answers within 5 s"):
            counted(4, RayEngine("[fd00::1]:6379"))

    def test_a_cluster_that_wants_a_token(self, monkeypatch):
        """Ray tells that in the middle of a cause's traceback."""

        def refused(where, **options):
            cause = RuntimeError("Failed ...\nRPC error: InvalidAuthToken: ... is missing")
            raise ConnectionError("Failed to connect") from cause

        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "init", refused)
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            pytest.raises(ConvlensError, match="its token: set RAY_AUTH_MODE=token, and copy"),
        ):
            counted(4, RayEngine(f"127.0.0.1:{server.getsockname()[1]}"))

    def test_unknown_engines_and_options(self):
        with pytest.raises(ConvlensError, match="it is local or ray"):
            find_engine("spark")
        for option in ("actors", "threads", "block", "handovers"):
            with pytest.raises(ConvlensError, match=f"{option} 0; give at least 1"):
                RayEngine(**{option: 0})  # type: ignore[arg-type]
        with pytest.raises(ConvlensError, match="it is cpu or cuda"):
            RayEngine(device="mps")

    def test_options_of_another_engine(self, paths, tmp_path):
        command = [sys.executable, "-m", "convlens", "patches", paths[0], "--actors", "2"]
        code = "import sys; from convlens.cli import main; sys.argv = sys.argv[1:]; main()"
        command = [sys.executable, "-c", code, "convlens", *command[3:]]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert ended.returncode == 2
        assert ended.stderr == (
            "convlens: --actors is an option of --engine ray, which was not given\n"
        )


def nodes(*machines):
    result = [
        {"Alive": alive, "Resources": {"CPU": float(cpus), "GPU": float(gpus)} if cpus else {}}
        for cpus, gpus, alive in machines
    ]
    return SimpleNamespace(nodes=lambda: result)


class TestThePlan:
    def test_chosen_from_the_resources(self):
        small = make_plan(nodes((2, 0, True)), None, 1, gpu=False)
        assert (small.actors, small.threads, small.gpus) == (2, 1, 0)
        assert make_plan(nodes((2, 0, True)), None, 2, gpu=False).actors == 1
        two = make_plan(nodes((16, 0, True), (8, 0, True), (64, 0, False)), None, 4, gpu=False)
        assert (two.actors, two.threads, two.cpus) == (6, 4, 3.0)
        eight = make_plan(nodes((64, 8, True), (16, 0, True)), None, 4, gpu=True)
        assert (eight.actors, eight.gpus) == (8, 1)
        assert make_plan(nodes((64, 8, True)), 3, 4, gpu=True).actors == 3

    def test_what_is_not_there(self):
        with pytest.raises(ConvlensError, match="no CPUs"):
            make_plan(nodes((0, 0, True)), None, 1, gpu=False)
        with pytest.raises(ConvlensError, match="1 actors on GPUs, of which the cluster has 0"):
            make_plan(nodes((4, 0, True)), None, 1, gpu=True)
        with pytest.raises(ConvlensError, match="3 actors on GPUs, of which the cluster has 2"):
            make_plan(nodes((4, 2, True)), 3, 1, gpu=True)

    def test_no_more_actors_than_cpus(self):
        """Each is a process of its own with the network in memory."""
        there = nodes((1, 0, True), (1, 0, True), (64, 0, False))
        with pytest.raises(ConvlensError, match=r"^100 actors, and the cluster has 2 CPUs"):
            make_plan(there, 100, 1, gpu=False)
        assert make_plan(there, 2, 1, gpu=False).actors == 2
        assert make_plan(nodes((0.5, 0, True)), 1, 1, gpu=False).actors == 1
        assert make_plan(nodes((2, 4, True)), 4, 1, gpu=True).actors == 4

    def test_fewer_actors_where_machines_went(self):
        plan = make_plan(nodes((2, 0, True), (2, 0, True)), None, 1, gpu=False)
        assert plan.count_that_fit(nodes((2, 0, True), (2, 0, True))) == 4
        assert plan.count_that_fit(nodes((2, 0, True), (2, 0, False))) == 2
        assert plan.count_that_fit(nodes((1, 0, True), (2, 0, False))) == 1

    @settings(max_examples=300)
    @given(
        st.lists(st.integers(1, 9), min_size=1, max_size=4), st.none() | st.integers(1, 12),
        st.integers(1, 8), st.lists(st.integers(0, 3), min_size=40, max_size=40),
    )  # fmt: skip
    def test_there_is_always_room_to_decode(self, cpus, actors, threads, order):
        """However actors come to lie: what a machine has not room for goes to another."""
        there = nodes(*((cpu, 0, True) for cpu in cpus))
        plan = make_plan(there, actors and min(actors, sum(cpus)), threads, gpu=False)
        left, placed = [float(cpu) for cpu in cpus], 0
        for choice in order:
            fits = [number for number, free in enumerate(left) if free >= plan.cpus - 1e-9]
            if placed == plan.count_that_fit(there) or not fits:
                break
            left[fits[choice % len(fits)]] -= plan.cpus
            placed += 1
        assert placed >= 1
        assert max(left) >= 0.25 - 1e-9
