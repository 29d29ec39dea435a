"""`diff` and its command: injected faults are named, and equal networks are equal in every bit."""

import json

import pytest
import torch
from torch import nn

import convlens
from convlens import ConvlensError
from convlens.results.storage import read_result
from support.compared_networks import (
    LABELS,
    SIZE,
    Normalization,
    changed,
    images,
    model,
    network,
    round_to_int8,
)

pytest_plugins = "support.command_line"


def exchange_inputs(module):
    module[0].weight.copy_(module[0].weight.flip(1))


def corrupt_a_filter(module):
    module[4].weight[7] = torch.randn(8, 3, 3, generator=torch.Generator().manual_seed(9))


def round_all(module):
    for layer in (module[0], module[4], module[8]):
        layer.weight.copy_(round_to_int8(layer.weight))


def shift_outputs(module):
    module[8].weight.copy_(module[8].weight.roll(1, 0))
    module[8].bias.copy_(module[8].bias.roll(1, 0))


@pytest.mark.parametrize(
    ("second", "says"),
    [
        (lambda: model(changed(exchange_inputs)),
         "0.weight: the same inputs of each filter in reverse order: 2, 1, 0"),
        (lambda: model(labels=[LABELS[-1], *LABELS[:-1]]), "the labels are shifted by 1"),
        (lambda: model(changed(shift_outputs)), "8.weight: the same filters, shifted by 1"),
        (lambda: model(changed(corrupt_a_filter)), "4.weight: 1 of 12 filters differs: 7"),
        (lambda: model(nn.Sequential(Normalization(), *network())),
         "receives images that are normalized twice"),
        (lambda: model(changed(round_all)), "rounded to 8 bits"),
        (lambda: model(mean=(0.3,)), "the preprocessing differs: mean 0.5, 0.4, 0.3, then 0.3"),
    ],
)  # fmt: skip
def test_an_injected_fault_is_named(second, says):
    result = convlens.diff(model(), second(), images(10), parts=())
    assert says in result.summary()
    assert not result.identical


def test_equal_networks_come_out_equal_in_every_bit(tmp_path):
    result = convlens.diff(model(), model(network()), images(10), labels=[[2]] * 10)
    assert result.identical
    assert "are equal in every bit: 10 tensors of weights, 9 nodes" in result.summary()
    result.save(tmp_path / "diff")
    assert read_result(tmp_path / "diff") == result


def test_every_part_is_computed_and_states_its_cost(tmp_path):
    costs = []
    result = convlens.diff(
        model(), model(changed(shift_outputs)), images(10), labels=[[1]] * 10, notify=costs.append
    )
    assert result.left_out == ()
    assert [cost.partition(":")[0].partition(" ")[0] for cost in costs] == [
        "CKA", "matching", "robustness", "shift",
    ]  # fmt: skip
    assert [curves.reference for curves in result.robustness] == ["label", "label"]
    assert len(result.explained) == len(result.gradcams[0].names) == 4
    for pair, names in zip(result.explained, result.gradcams[1].names, strict=True):
        assert names == (pair.second,)
    result.save(tmp_path / "diff")
    assert read_result(tmp_path / "diff") == result
    files = {path.stem for path in (tmp_path / "diff").glob("*.png")}
    assert {"answers", "CKA", "Grad-CAM", "filters", "robustness", "shift", "weights"} <= files


def test_a_part_that_a_network_does_not_allow_is_left_out_with_the_reason():
    dense = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 5))
    result = convlens.diff(model(), model(dense), images(4), parts=["cka", "gradcam"])
    assert [words.partition(":")[0] for words in result.left_out] == ["cka", "gradcam"]
    assert "left out: cka:" in result.summary()
    with pytest.raises(ConvlensError, match="no part 'cca'; nearest: cka; give cka, channels"):
        convlens.diff(model(), model(), images(2), parts=["cca"])


NETWORKS = """

def shifted():
    other = tiny()
    for parameter in other.network[4].parameters():
        parameter.data.copy_(parameter.data.roll(1, 0))
    return other
"""


def test_the_command(here, convlens):
    (here / "mine.py").write_text((here / "mine.py").read_text() + NETWORKS)
    photos = ["a.png", "b.png"]
    for number in range(3):  # fewer than five are too few for CKA
        photos.append(f"{number}.png")
        (here / photos[-1]).write_bytes((here / photos[number % 2]).read_bytes())
    words = ["diff", "mine.py:tiny", "mine.py:shifted", *photos, "--part", "cka"]
    status, out, err = convlens(*words)
    assert status == 0, err
    assert "CKA of 1 by 1 layers: 5 forward passes of each network" in err
    assert "5 of 5 answers differ" in out
    assert "4.weight: the same filters, shifted by 1" in out
    assert (here / "convlens-diff" / "index.html").is_file()
    status, out, _ = convlens(*words, "--overwrite", "--json")
    numbers = json.loads(out)
    assert (status, numbers["convlens"]["class"], numbers["answers"]["images"]) == (0, "Diff", 5)
    status, out, err = convlens("diff", "mine.py:tiny", "nofile.pt", "a.png")
    assert (status, out, err.count("\n")) == (2, "", 1)
