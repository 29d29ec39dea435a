"""Settings of every test: one thread, no disk cache, and a folder of its own for each doctest."""

import os
from pathlib import Path

import pytest

from convlens.runtime.threads import limit_spinning

os.environ["CONVLENS_CACHE"] = "off"  # tests neither read nor fill the user's disk cache
limit_spinning()  # before torch is imported: other test processes use the same cores

import torch  # noqa: E402

# Small networks gain nothing from more threads, and several test processes share a machine.
torch.set_num_threads(1)

# The helpers of the tests use plain asserts; pytest explains these as it does those of tests.
pytest.register_assert_rewrite("support")

SOURCE = Path(__file__).parent / "src"


# Fixtures that cost so much that one process makes them, for all tests that use them. These tests
# start first, because the last process to end decides how long a run takes.
SHARED_FIXTURES = ("cluster", "demo")
# The page about the default network takes a minute, and a Ray cluster with two nodes as long. Pages
# of small networks and the local engine are tested always.
SLOW_FIXTURES = ("cluster", "demo")
# Architectures that take seconds to make and to trace. Tests over several architectures run with
# the smaller ones always.
LARGE_NETWORKS = (
    "convnext", "deeplabv3", "densenet", "efficientnet", "fastvit", "fcn_resnet", "googlenet",
    "inception", "mobilenet_v2", "regnet", "resnet50", "shufflenet", "swin", "vgg", "vit_b",
)  # fmt: skip


@pytest.hookimpl(tryfirst=True)  # before marks are selected, and before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by their fixtures; keep those that share a fixture or a file in one process."""
    for item in items:
        if _is_slow(item):
            item.add_marker(pytest.mark.slow)
    if not hasattr(config, "workerinput"):  # as the processes of xdist have
        return
    costly: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        shared = next((name for name in SHARED_FIXTURES if name in names), None)
        (costly if shared else others).append(item)
        item.add_marker(pytest.mark.xdist_group(shared or str(item.path)))
    items[:] = [*costly, *others]


def _is_slow(item: pytest.Item) -> bool:
    """Whether a test uses a slow fixture, or is one of several with a large network."""
    parameters = item.name.partition("[")[2]
    return not set(SLOW_FIXTURES).isdisjoint(getattr(item, "fixturenames", ())) or any(
        name in parameters for name in LARGE_NETWORKS
    )


@pytest.fixture(autouse=True)
def doctest_folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the examples of docstrings in a temporary folder, where they may write files."""
    if request.path.is_relative_to(SOURCE):
        monkeypatch.chdir(request.getfixturevalue("tmp_path"))
