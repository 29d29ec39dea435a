"""A short run of the campaign of random networks, and a longer one marked slow.

`python -m fuzz --networks 1000 --seed 0` in the folder `tests` is the long one.
"""

import time

import pytest
import torch
from torch import nn

from fuzz.campaign import check_network
from fuzz.case import Case, Mismatch
from fuzz.grammar.network import write_network
from fuzz.oracles import costs, fields
from fuzz.program import Program

NETWORKS = 24
ALWAYS = 5  # of them in every run, the others in the slow one
MANY, SECONDS = 100, 120  # of the slow run, which ends with the first of the two

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's, of even kernels and lazy checks


@pytest.mark.parametrize(
    "seed",
    [
        *range(ALWAYS),
        *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(ALWAYS, NETWORKS)),
    ],
)
def test_random_networks_have_the_values_of_plain_computations(seed):
    report = check_network(seed)
    assert not report.wrong, f"\n{report}"


@pytest.mark.slow
def test_many_random_networks():
    ends, seed, reports = time.monotonic() + SECONDS, 10_000, []
    while time.monotonic() < ends and len(reports) < MANY:
        reports.append(check_network(seed))
        seed += 1
    wrong = [report for report in reports if report.wrong]
    assert not wrong, "\n\n".join(map(str, wrong))
    assert reports


# The oracles themselves


def plain_program(module="nn.Conv2d(3, 2, 3)"):
    program = Program(0, (3, 8, 8))
    x = program.apply("conv", module, "image")
    x = program.assign("features", f"{x}.mean((2, 3))")
    program.logits = program.apply("classifier", "nn.Linear(2, 2)", x)
    program.returned = program.logits
    return program


def test_the_same_seed_writes_the_same_network():
    assert write_network(7).source() == write_network(7).source()
    assert write_network(7).source() != write_network(8).source()


def test_the_source_runs_and_gives_what_the_statements_give():
    program = write_network(3)
    network = program.build()
    images = torch.rand(2, *program.image)
    with torch.no_grad():
        by_statements = program.run(network, images)["returned"]
        returned = network(images.clone())
    while not isinstance(returned, torch.Tensor):
        pick = "logits" if isinstance(returned, dict) else 0
        returned, by_statements = returned[pick], by_statements[pick]
    torch.testing.assert_close(returned, by_statements)


def test_nan_finds_the_rows_that_reach_a_value():
    case = Case.of(plain_program("nn.Conv2d(3, 2, 3, stride=2, padding=1, dilation=2)"))
    rows, _ = fields.dependence(case)
    assert fields.hulls(rows["conv1_1"], 2) == [(1, 3), (1, 5), (3, 7)]


def test_a_wrong_receptive_field_is_noticed(monkeypatch):
    case = Case.of(plain_program())
    fields.check(case)
    node = case.trace.find_node("conv1")
    field = case.trace.field(node)
    field.high[0][2] -= 1
    monkeypatch.setattr(type(case.trace), "field", lambda trace, number: field)
    with pytest.raises(Mismatch, match="receptive field of conv1"):
        fields.check(case)


def test_the_counter_counts_multiply_adds():
    case = Case.of(plain_program())
    assert costs.count(case) == 2 * 27 * 36 + 4


def test_a_network_that_changes_is_noticed():
    from fuzz.oracles import untouched

    case = Case.of(plain_program())
    before = untouched.snapshot(case)
    untouched.compare(case, before)
    case.network.conv1.register_forward_hook(lambda module, inputs, output: None)
    with pytest.raises(Mismatch, match=r"conv1\._forward_hooks"):
        untouched.compare(case, before)
    assert isinstance(case.network, nn.Module)
