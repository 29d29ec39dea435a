"""Several threads use one network, or networks that share modules."""

import random
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

import convlens
from convlens.capture.nodes import stream_nodes
from convlens.runtime.exclusive import exclusive
from convlens.runtime.shared_context import SharedContext
from support.public_functions import SIZE, images


def body():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())


def network(own_body=None):
    return nn.Sequential(
        *(own_body or body()), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )


def run_in_threads(*functions):
    """Run each function in a thread of its own; return all that they return, or raise an error."""
    results, errors = [], []

    def work(function):
        try:
            results.append(function())
        except BaseException as error:  # also what a network must not catch
            errors.append(error)

    threads = [threading.Thread(target=work, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if errors:
        raise errors[0]
    return results


def random_state():
    return random.getstate(), torch.get_rng_state().tolist(), str(np.random.get_state())


def snapshot(module):
    return {
        "modes": [part.training for part in module.modules()],
        "gradients": [parameter.requires_grad for parameter in module.parameters()],
        "hooks": [len(part._forward_hooks) for part in module.modules()],
        "buffers": [buffer.tolist() for buffer in module.buffers()],
        "random": random_state(),
    }


def test_maps_of_four_threads_on_one_network_are_right():
    torch.manual_seed(0)
    module = network().train()
    module[1].eval()
    module[5].bias.requires_grad_(False)
    model = convlens.wrap(module, size=SIZE)
    maps = convlens.gradcam(model, images(), classes=[0]).maps
    before = snapshot(module)

    def explain():
        return sum(
            torch.equal(convlens.gradcam(model, images(), classes=[0]).maps, maps)
            for _ in range(12)
        )

    assert run_in_threads(*[explain] * 4) == [12] * 4
    assert snapshot(module) == before


def test_different_functions_and_the_model_itself_in_threads():
    torch.manual_seed(0)
    module = network().eval()
    model = convlens.wrap(module, size=SIZE)
    logits = model(images()).detach()
    signs = convlens.fgsm(model, images()).signs
    maps = convlens.gradcam(model, images(), layer="0").maps
    checks = (
        lambda: torch.equal(model(images()), logits),
        lambda: torch.equal(module(images()).detach(), logits),  # not through convlens
        lambda: torch.equal(convlens.fgsm(model, images()).signs, signs),
        lambda: torch.equal(convlens.gradcam(model, images(), layer="0").maps, maps),
    )
    counts = run_in_threads(
        *[lambda check=check: sum(check() for _ in range(10)) for check in checks]
    )
    assert counts == [10] * 4


def test_networks_that_share_their_body():
    torch.manual_seed(0)
    shared = body()
    modules = [network(shared).train() for _ in range(3)]
    models = [convlens.wrap(module, size=SIZE) for module in modules]
    expected = [convlens.gradcam(model, images(), classes=[0]).maps for model in models]
    before = snapshot(modules[0])

    def explain(number):
        return all(
            torch.equal(
                convlens.gradcam(models[number], images(), classes=[0]).maps, expected[number]
            )
            for _ in range(10)
        )

    assert all(run_in_threads(*[lambda k=k: explain(k) for k in range(3)]))
    assert snapshot(modules[0]) == before


def test_first_traces_of_several_networks_at_once():
    torch.manual_seed(0)
    modules = [network().eval() for _ in range(4)]
    expected = [module(images()).detach() for module in modules]

    def predict(number):
        model = convlens.wrap(modules[number], size=SIZE)
        return torch.allclose(convlens.predict(model, images()).logits, expected[number])

    before = random_state()
    assert all(run_in_threads(*[lambda k=k: predict(k) for k in range(4)]))
    assert random_state() == before


class Noisy(nn.Module):
    """Draws from all random generators of the process."""

    def forward(self, x):
        time.sleep(0.001 * random.random())
        return x + 0 * (torch.rand(()) + float(np.random.rand()))


@pytest.mark.filterwarnings("ignore:.*draws random numbers in evaluation mode")
def test_random_state_where_threads_overlap_on_networks_that_share_nothing():
    models = [
        convlens.wrap(nn.Sequential(Noisy(), *network()), size=SIZE, name=str(number))
        for number in range(3)
    ]
    for model in models:
        convlens.predict(model, images())
    before = random_state()
    run_in_threads(
        *[lambda m=m: [convlens.predict(m, images()) for _ in range(10)] for m in models]
    )
    assert random_state() == before


@pytest.mark.parametrize("layer", ["2", "1/mul"])
def test_a_run_in_another_thread_is_not_captured(layer):
    class Scaled(nn.Module):
        def forward(self, x):
            return x * 2 + 1

    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), Scaled(), nn.ReLU()).eval()
    expected = [module(batch).detach() for batch in (images(), images() / 2)]
    model = convlens.wrap(module, size=SIZE)
    trace = convlens.trace(model)
    first, last = trace.find_node("0"), trace.find_node(layer)
    runs, captured = [], {}

    def callback(node, tensor):
        captured[node] = tensor.clone()
        if node == first and not runs:
            # This run comes to the last node before that of stream_nodes does.
            runs.extend(run_in_threads(lambda: module(images() / 2).detach()))

    stream_nodes(model, trace, images(), [first, last], callback)
    assert torch.equal(runs[0], expected[1])
    assert torch.equal(captured[last], expected[0] if layer == "2" else module[0](images()) * 2)


def test_a_thread_may_nest_and_another_waits_until_the_last_block_has_ended():
    module = network()
    order = []
    inside, proceed = threading.Event(), threading.Event()

    def first():
        with exclusive(module.modules()):
            with exclusive(module[:3].modules()):
                order.append("first begins")
            inside.set()
            assert proceed.wait(10)
            order.append("first ends")

    def second():
        assert inside.wait(10)
        proceed.set()
        with exclusive(module[2].modules()):
            order.append("second")

    run_in_threads(first, second)
    assert order == ["first begins", "first ends", "second"]


def test_networks_without_common_modules_do_not_wait():
    entered = threading.Barrier(2)

    def use():
        with exclusive(network().modules()):
            entered.wait(10)  # both are inside

    run_in_threads(use, use)


def test_a_shared_context_is_entered_by_the_first_and_left_by_the_last_thread():
    events = []

    class Recorded:
        def __enter__(self):
            events.append("enter")

        def __exit__(self, *error):
            events.append("exit")

    context = SharedContext(Recorded)
    together = threading.Barrier(2)

    def use():
        with context():
            together.wait(10)

    run_in_threads(use, use)
    with pytest.raises(KeyError), context():
        raise KeyError
    assert events == ["enter", "exit", "enter", "exit"]
