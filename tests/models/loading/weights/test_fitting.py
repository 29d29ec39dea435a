"""Weights under prefixes, wrappers and entries, tied tensors, load hooks and other classifiers.

The oracle is the network whose weights were saved: the loaded one must return the same numbers.
"""

import copy
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_model
from torch import nn

from convlens.errors import ConvlensError
from convlens.models.loading.weights.fitting import load_weights
from convlens.models.loading.weights.weight_files import WeightFile, read_weight_file


class Net(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.fc = nn.Linear(4, classes)

    def forward(self, images):
        return self.fc(self.features(images).mean((2, 3)))


@pytest.fixture
def trained():
    torch.manual_seed(1)
    network = Net()
    network(torch.rand(4, 3, 8, 8))  # moves the statistics of the batch normalization
    return network.eval()


IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def saved(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    return read_weight_file(tmp_path / "w.pt")


def refusal(tmp_path, content, network=None):
    network = network or Net()
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(ConvlensError) as caught:
        load_weights(network, saved(tmp_path, content))
    assert "\n" not in str(caught.value)
    after = network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    return str(caught.value)


def prefixed(network, prefix):
    return {prefix + key: tensor for key, tensor in network.state_dict().items()}


def wrapped_part(network):
    network = copy.deepcopy(network)
    network.features = nn.DataParallel(network.features)
    return network.state_dict()


def compiled(network):
    network = copy.deepcopy(network)
    network.features = torch.compile(network.features)
    return nn.DataParallel(network).state_dict()


def averaged(network):
    return torch.optim.swa_utils.AveragedModel(network, use_buffers=True).state_dict()


CHECKPOINTS = {
    "as_it_is": lambda network: network.state_dict(),
    "lightning": lambda network: {"state_dict": prefixed(network, "model."), "epoch": 3},
    "prefix_and_loss": lambda network: prefixed(network, "net.") | {"loss.weight": torch.ones(2)},
    "two_prefixes": lambda network: prefixed(network, "algorithm.network."),
    "part_in_data_parallel": wrapped_part,
    "compiled_part_in_data_parallel": compiled,
    "averaged": averaged,
    "averaged_under_a_name": lambda network: {"model_ema": averaged(network)},
    "deep": lambda network: {"checkpoint": {"runner": {"weights": network.state_dict()}}},
    "leftovers": lambda network: {
        **network.state_dict(),
        "total_ops": torch.zeros(1),
        "fc.total_params": torch.zeros(1),
    },
    "half_precision": lambda network: copy.deepcopy(network).half().state_dict(),
    "ema_beside_the_weights": lambda network: {
        "ema": prefixed(Net(), ""),
        "net": network.state_dict(),
    },
    "ema_prefix": lambda network: prefixed(Net(), "ema_model.") | prefixed(network, "model."),
}


@pytest.mark.parametrize("form", CHECKPOINTS)
def test_the_loaded_network_returns_what_the_saved_one_returns(form, tmp_path, trained):
    network = Net().eval()
    assert not torch.allclose(network(IMAGES), trained(IMAGES), atol=1e-3)
    load_weights(network, saved(tmp_path, CHECKPOINTS[form](trained)))
    tolerance = 1e-3 if form == "half_precision" else 1e-6
    assert torch.allclose(network(IMAGES), trained(IMAGES), atol=tolerance)


def test_what_was_done_is_reported(tmp_path, trained):
    content = {"state_dict": prefixed(trained, "net.") | {"loss.weight": torch.ones(2)}}
    content["model_ema"] = averaged(Net())
    summary = load_weights(Net(), saved(tmp_path, content)).summary()
    assert "from its entry 'state_dict'" in summary and "without the prefix 'net.'" in summary
    assert "left out: loss.weight" in summary and "not used: entry 'model_ema'" in summary
    assert load_weights(Net(), saved(tmp_path, trained.state_dict())).summary() == ""


def test_a_network_that_is_wrapped_itself(tmp_path, trained):
    plain = [Net().eval() for _ in range(3)]
    networks: list[Any] = [
        nn.DataParallel(plain[0]),
        torch.compile(plain[1]),
        nn.Sequential(OrderedDict(net=plain[2])),
    ]
    for network in networks:
        load_weights(network, saved(tmp_path, trained.state_dict()))
        values = list(network.state_dict().values())
        assert all(map(torch.equal, values, trained.state_dict().values()))


def test_a_network_behind_a_normalization(tmp_path, trained):
    content = prefixed(trained, "model.") | {"loss.weight": torch.ones(2)}
    for state in (trained.state_dict(), content):
        network = nn.Sequential(nn.Identity(), Net()).eval()
        load_weights(network, saved(tmp_path, state))
        assert torch.equal(network(IMAGES), trained(IMAGES))


def test_two_networks_that_fit_equally_well_are_a_question(tmp_path, trained):
    content = prefixed(trained, "student.") | prefixed(Net(), "teacher.")
    text = refusal(tmp_path, content)
    assert "several weights that fit" in text and "'student.'" in text and "'teacher.'" in text
    content = {"first": trained.state_dict(), "second": Net().state_dict()}
    assert "entry 'first', entry 'second'" in refusal(tmp_path, content)
    content["second"] = trained.state_dict()  # no question: the same values
    network = Net().eval()
    load_weights(network, saved(tmp_path, content))
    assert torch.equal(network(IMAGES), trained(IMAGES))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)
        self.b.weight = self.a.weight

    def forward(self, images):
        return self.b(self.a(images)).mean((2, 3))


def test_tensors_that_safetensors_saved_once(tmp_path):
    trained, network = Tied(), Tied()
    save_model(trained, str(tmp_path / "w.safetensors"))
    file = read_weight_file(tmp_path / "w.safetensors")
    assert len(file.content) == 3  # of four names
    load_weights(network, file)
    assert torch.equal(network(IMAGES), trained(IMAGES))
    untied = Tied()
    untied.b.weight = nn.Parameter(torch.zeros(3, 3, 3, 3))
    with pytest.raises(ConvlensError, match=r"1 missing \((a|b)\.weight\)"):
        load_weights(untied, file)


class Renaming(Net):
    def __init__(self):
        super().__init__()
        self.register_load_state_dict_pre_hook(self.rename)

    @staticmethod
    def rename(module, state, prefix, *_):
        for key in list(state):
            if key.startswith(f"{prefix}stem."):
                state[key.replace("stem.", "features.")] = state.pop(key)


def test_load_hooks_of_the_network_take_old_names(tmp_path, trained):
    old = {key.replace("features.", "stem."): v for key, v in trained.state_dict().items()}
    network = Renaming().eval()
    load_weights(network, saved(tmp_path, {f"model.{key}": v for key, v in old.items()}))
    assert torch.equal(network(IMAGES), trained(IMAGES))
    assert "unexpected" in refusal(tmp_path, old)  # without the hook


def test_old_weight_normalization_into_the_new_one(tmp_path):
    with pytest.warns(FutureWarning):
        old = nn.Sequential(torch.nn.utils.weight_norm(nn.Conv2d(3, 4, 3)))
        other = nn.Sequential(torch.nn.utils.weight_norm(nn.Conv2d(3, 4, 3)))
    new = nn.Sequential(torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)))
    for network in (new, other):
        load_weights(network, saved(tmp_path, old.state_dict()))
        assert torch.allclose(network(IMAGES), old(IMAGES), atol=1e-6)


def test_a_classifier_of_another_size(tmp_path, trained):
    network = Net(classes=10).eval()
    loaded = load_weights(network, saved(tmp_path, {"model": trained.state_dict()}))
    assert torch.equal(network(IMAGES), trained(IMAGES)) and network.fc.out_features == 3
    assert loaded.classes == 3 and "the classifier has 3 outputs" in loaded.summary()


def test_other_layers_of_another_size_are_refused(tmp_path, trained):
    wider = trained.state_dict()
    wider["features.0.weight"] = torch.zeros(5, 3, 3, 3)
    assert "features.0.weight is (5, 3, 3, 3), wanted (4, 3, 3, 3)" in refusal(tmp_path, wider)
    scalar = trained.state_dict() | {"fc.bias": torch.tensor(1.0)}
    assert "fc.bias is (), wanted (3,)" in refusal(tmp_path, scalar)


UNUSABLE = {
    "sparse": (lambda: torch.zeros(3, 4).to_sparse(), "fc.weight is sparse"),
    "compressed": (lambda: torch.zeros(3, 4).to_sparse_csr(), "fc.weight is sparse"),
    "meta": (lambda: torch.zeros(3, 4, device="meta"), "fc.weight is on the meta device"),
    "complex": (lambda: torch.zeros(3, 4, dtype=torch.complex64), "fc.weight is complex"),
    "int8": (lambda: torch.zeros(3, 4, dtype=torch.int8), "is int8, the network's is float32"),
    "bool": (lambda: torch.zeros(3, 4, dtype=torch.bool), "fc.weight is bool"),
    "quantized": (
        lambda: torch.quantize_per_tensor(torch.zeros(3, 4), 0.1, 0, torch.qint8),
        "fc.weight is quantized",
    ),
    "expanded": (lambda: torch.zeros(1).expand(10**6, 4), "is (1000000, 4), wanted (3, 4)"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", UNUSABLE)
def test_tensors_whose_values_would_not_arrive(kind, tmp_path, trained):
    make, words = UNUSABLE[kind]
    assert words in refusal(tmp_path, trained.state_dict() | {"fc.weight": make()})


def test_keys_that_a_network_needs_are_not_left_out(tmp_path, trained):
    bigger = trained.state_dict() | {"features.3.weight": torch.ones(4)}
    assert "1 unexpected (features.3.weight)" in refusal(tmp_path, bigger)
    smaller = trained.state_dict()
    del smaller["features.1.running_var"]
    assert "1 missing (features.1.running_var)" in refusal(tmp_path, smaller)


def test_long_keys_are_cut(tmp_path, trained):
    assert len(refusal(tmp_path, trained.state_dict() | {"a." * 20_000: torch.ones(2)})) < 500


def test_hostile_contents_end_in_one_line(trained):
    cycle: dict = {}
    cycle["model"] = cycle
    metadata: Any = OrderedDict(trained.state_dict())
    metadata._metadata = {"": {"assign_to_params_buffers": True}, "fc": "no mapping", 3: None}
    load_weights(Net(), WeightFile(Path("w.pt"), metadata, {}))
    for content in (cycle, {"model": [1, 2]}, {3: torch.zeros(1)}, [], {}, {"": torch.zeros(1)}):
        with pytest.raises(ConvlensError):
            load_weights(Net(), WeightFile(Path("w.pt"), content, {}))


def test_a_load_hook_that_fails_is_one_line(tmp_path, trained):
    network = Net()
    network.register_load_state_dict_pre_hook(lambda *_: [].pop())
    assert "pop from empty list" in refusal(tmp_path, trained.state_dict(), network)
