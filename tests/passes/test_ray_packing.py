"""What is sent between the processes of a pass on Ray, and how much of it."""

import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import convlens
from convlens import ConvlensError, RayEngine
from convlens.analyses.attacks.robustness_reducer import RobustnessReducer
from convlens.passes.ray.packing import holds_distributions, is_sent_by_value, pack
from convlens.runtime.guard import preserve_network
from support.ray_cluster import RAY_WARNINGS, SIZE, Count, counted, model

ray = pytest.importorskip("ray")

pytest_plugins = "support.ray_cluster"

pytestmark = RAY_WARNINGS


class TestPacking:
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
        with preserve_network(network.network), preserve_network(other.network):
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
