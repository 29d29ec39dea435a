"""Networks that are frozen, compiled, in training or in another precision give the same results."""

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import nn

import convlens
from convlens import wrap
from support.guarded_networks import small_network, used_network
from support.public_functions import CALLS, NAMES, SIZE, call, images


def plain_answers(network, batch):
    with torch.no_grad():
        return copy.deepcopy(network).eval()(batch).float()


def frozen(network):
    return network.requires_grad_(False)


def training(network):
    return network.train()


def double(network):
    return network.double()


def compiled(network):
    return torch.compile(network, backend="eager")


def compiled_itself(network):
    network.compile(backend="eager")
    return network


def compiled_part(network):
    network[7] = torch.compile(network[7], backend="eager")
    return network


def compiled_part_itself(network):
    network[7].compile(backend="eager")
    return network


def called_before(network):
    network(images())
    return network


def data_parallel(network):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.DataParallel(network)


def channels_last(network):
    return network.to(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "wrapping",
    [
        frozen, training, double, compiled, compiled_itself, compiled_part, compiled_part_itself,
        lambda network: called_before(compiled(network.eval())),
        lambda network: called_before(compiled_itself(network.eval())),
        data_parallel, channels_last, lambda network: training(double(frozen(network))),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_wrapped_networks_answer_like_the_plain_one(wrapping):
    plain, network = small_network().eval(), small_network().eval()
    plain[5] = network[5] = nn.Identity()
    wrapped_network = wrapping(network)
    expected = wrap(plain, size=SIZE)
    model = wrap(wrapped_network, size=SIZE)
    predictions = convlens.predict(model, images())
    ours: Any
    theirs: Any
    torch.testing.assert_close(
        predictions.logits, plain_answers(plain, images()), rtol=1e-4, atol=1e-6
    )
    for layer in (None, "1"):
        ours = convlens.gradcam(model, images(), classes=[0, 3], layer=layer)
        theirs = convlens.gradcam(expected, images(), classes=[0, 3], layer=layer)
        torch.testing.assert_close(ours.maps, theirs.maps, rtol=1e-4, atol=1e-7)
    ours, theirs = (convlens.fgsm(wrapped, images(), ["8/255"]) for wrapped in (model, expected))
    assert (ours.signs == theirs.signs).float().mean() > 0.999
    torch.testing.assert_close(
        ours.adversarial_logits, theirs.adversarial_logits, rtol=1e-3, atol=1e-4
    )
    ours, theirs = convlens.anatomy(model), convlens.anatomy(expected)
    assert ours.multiply_adds == theirs.multiply_adds
    assert [layer.output for layer in ours.layers] == [layer.output for layer in theirs.layers]


def test_half_precision_answers_like_the_plain_half_precision_network():
    network = small_network().eval().bfloat16()
    model = wrap(network, size=SIZE)
    with torch.no_grad():
        expected = network(images().bfloat16())
    assert torch.equal(convlens.predict(model, images()).logits, expected.float())
    cam = convlens.gradcam(model, images())
    assert cam.maps.isfinite().all() and cam.maps.any()
    attack = convlens.fgsm(model, images(), ["4/255"])
    assert attack.adversarial(0).dtype == torch.float32
    assert (attack.largest_changes <= 4 / 255 * (1 + 1e-6)).all()


@pytest.mark.parametrize(
    "mode", [pytest.param(torch.no_grad, marks=pytest.mark.slow), torch.inference_mode]
)
@pytest.mark.parametrize("name", NAMES)
def test_functions_work_whatever_the_callers_gradient_mode(name, mode, tmp_path):
    if name in ("report", "check_preprocessing", "find_flip") and mode is not torch.no_grad:
        pytest.skip("slow, and made of the others")
    network = used_network(small_network())
    with mode():
        inside = call(name, wrap(network, size=SIZE), tmp_path)
    if name in ("predict", "gradcam", "fgsm"):
        outside = call(name, wrap(network, size=SIZE), tmp_path)
        assert inside == outside
        assert_close_results(name, inside, network)


def assert_close_results(name, result, network):
    if name == "predict":
        torch.testing.assert_close(result.logits, plain_answers(network, images()))
    else:
        assert (result.maps if name == "gradcam" else result.signs).any()


def test_images_made_in_inference_mode():
    network = small_network()
    with torch.inference_mode():
        batch = images()
    model = wrap(network, size=SIZE)
    for layer in (None, "1", "image"):
        ours = convlens.gradcam(model, batch, layer=layer)
        assert torch.equal(ours.maps, convlens.gradcam(model, images(), layer=layer).maps)
    convlens.fgsm(model, batch)


def test_network_made_in_inference_mode():
    with torch.inference_mode():
        network = small_network().eval()
    model = wrap(network, size=SIZE)
    plain = wrap(small_network().eval(), size=SIZE)
    for name in ("predict", "gradcam"):
        assert CALLS[name](model) == CALLS[name](plain)
    # Batch normalizations are folded in the plain network alone, which changes the last bits.
    attack, expected = CALLS["fgsm"](model), CALLS["fgsm"](plain)
    assert torch.equal(attack.signs, expected.signs)
    torch.testing.assert_close(attack.adversarial_logits, expected.adversarial_logits)
