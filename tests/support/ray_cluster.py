"""A Ray cluster on this machine, photos for it, and reducers that count, fail or die."""

import os
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convlens
from convlens import ConvlensError, wrap
from convlens.passes.options import PassOptions
from convlens.passes.ray.session import ray_session
from convlens.passes.run import run_pass
from convlens.passes.source import TensorSource
from support.folders import TESTS

cluster_utils = pytest.importorskip("ray.cluster_utils")

SIZE = 24

# Of Ray's own processes: an open file in a thread that ends later, a socket in a test's shutdown.
RAY_WARNINGS = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def model(seed=0):
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(12, 4),
    )  # fmt: skip
    return wrap(network, size=SIZE, resize=SIZE)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Photos of noise, four of them alike, one damaged, one that is no photo."""
    result = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    alike = random.integers(0, 256, (30, 28, 3), dtype=np.uint8)
    for number in range(45):
        pixels = random.integers(0, 256, (30, 28, 3), dtype=np.uint8)
        Image.fromarray(alike if number in (3, 11, 26, 40) else pixels).save(
            result / f"{number:02}.png"
        )
    whole = (result / "07.png").read_bytes()
    (result / "07.png").write_bytes(whole[: len(whole) // 2])
    (result / "30.png").write_bytes(b"poison")
    return result


@pytest.fixture
def paths(folder):
    return sorted(folder.glob("*.png"))


@pytest.fixture(scope="session")
def cluster():
    """Two nodes of one CPU each, on this machine; this process is connected to them."""
    before = {name: os.environ.get(name) for name in ("RAY_USAGE_STATS_ENABLED", "PYTHONPATH")}
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    node = {"num_cpus": 1, "object_store_memory": 150_000_000}
    # Workers import this checkout and the helpers of the tests, wherever they are started.
    here = [str(Path(convlens.__file__).parents[1]), str(TESTS)]
    os.environ["PYTHONPATH"] = os.pathsep.join([*here, os.environ.get("PYTHONPATH", "")])
    try:
        ray_cluster = cluster_utils.Cluster(
            initialize_head=True,
            head_node_args={"include_dashboard": False, **node},
        )
    except Exception as error:  # whatever keeps its servers from starting
        pytest.skip(f"Ray does not start here ({error})")
    ray_cluster.add_node(**node)
    with ray_session(ray_cluster.address):
        yield ray_cluster
    ray_cluster.shutdown()
    for name, value in before.items():
        if value is None:
            os.environ.pop(name)
        else:
            os.environ[name] = value


@contextmanager
def third_node(cluster):
    node = cluster.add_node(num_cpus=1, object_store_memory=150_000_000)
    cluster.wait_for_nodes()
    try:
        yield node
    finally:
        if node in cluster.list_all_nodes():
            cluster.remove_node(node, allow_graceful=False)


def same(first, second):
    """Whether two results hold the same, to the last bit."""
    first, second = first.to_json(), second.to_json()
    return first == second


class Count:
    """Counts every image, so that one that is lost or taken twice is seen; may die on the way."""

    def __init__(self, total, *, deaths_folder=None, dies_at=(), slow=0.0):
        self.total, self.deaths_folder, self.dies_at, self.slow = (
            total,
            deaths_folder,
            dies_at,
            slow,
        )

    def initial_state(self):
        return {"seen": torch.zeros(self.total, dtype=torch.int64)}

    def process_batch(self, state, images, ids):
        time.sleep(self.slow)
        for number in ids.tolist():
            if number in self.dies_at:
                mark = self.deaths_folder / str(number)
                if not mark.exists():
                    mark.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
        state["seen"][ids] += 1

    def merge(self, state_a, state_b):
        return {"seen": state_a["seen"] + state_b["seen"]}


class Dying(Count):
    def process_batch(self, state, images, ids):
        os.kill(os.getpid(), signal.SIGKILL)


class Failing(Count):
    def process_batch(self, state, images, ids):
        raise ConvlensError("NaN in the activations of photo 3")


def counted(total, engine, work=None, *, progress=lambda done, total: None, **options):
    images = torch.rand(total, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    pass_options = PassOptions(
        engine=engine,
        batch_size=2,
        progress=lambda stage, done, total: progress(done, total),
        **options,
    )
    return run_pass(model(), work or Count(total), TensorSource(images), pass_options=pass_options)
