"""Every public function leaves the network untouched, also where it fails."""

import contextlib

import pytest

import convlens
from convlens import ConvlensError, wrap
from support.guarded_networks import assert_untouched, small_network, state, used_network
from support.public_functions import CALLS, NAMES, SIZE, WRITING, call


def test_every_public_function_is_called_here():
    assert {*CALLS, *WRITING} >= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_function_leaves_the_network_untouched(name, tmp_path):
    network = used_network(small_network())
    model = wrap(network, size=SIZE)
    before = state(network)
    call(name, model, tmp_path)
    assert_untouched(network, before)
    call(name, model, tmp_path)
    assert_untouched(network, before)


@pytest.fixture(scope="module")
def traced_networks():
    """Networks that have been traced and run, by the place of the layer that will fail.

    Every call leaves them untouched, or the test of that call fails, so that tests can share them.
    """
    networks = {place: used_network(small_network()) for place in (0, 6, 12)}
    for network in networks.values():
        CALLS["predict"](wrap(network, size=SIZE))
    return networks


# Runs of a FailingLayer until it raises: the first is that of the trace, on a copy.
# A trace fails alike at every place, so that one is enough in most runs, and both ends otherwise.
@pytest.mark.parametrize(
    ("place", "runs"),
    [
        (0, 1), pytest.param(6, 1, marks=pytest.mark.slow),
        pytest.param(12, 1, marks=pytest.mark.slow), (0, 2),
        pytest.param(6, 2, marks=pytest.mark.slow), (12, 2),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "name",
    [name for name in NAMES if name not in ("filters", "filters_over_training", "receptive_field")],
)
def test_nothing_is_left_where_a_module_raises(name, place, runs, traced_networks, tmp_path):
    network = traced_networks[place] if runs == 2 else used_network(small_network())
    network[place].at = runs
    model = wrap(network, size=SIZE)
    before = state(network)
    with contextlib.suppress(RuntimeError, ConvlensError):
        call(name, model, tmp_path)
    network[place].at = None
    assert_untouched(network, before)


def test_functions_do_raise_there():
    # Or the test above would compare nothing.
    for place in (0, 6, 12):
        network = used_network(small_network())
        model = wrap(network, size=SIZE)
        convlens.trace(model)
        before = state(network)
        for name in ("predict", "gradcam", "fgsm"):
            network[place].at = 1
            with pytest.raises(ConvlensError, match=r"Sequential.* images of .*tripped") as caught:
                CALLS[name](model)
            assert isinstance(caught.value.__cause__, RuntimeError)
            assert_untouched(network, before)
