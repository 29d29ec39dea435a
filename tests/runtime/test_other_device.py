"""Every public function on a network that is not on the CPU: a second fake device, and a GPU."""

import json
from functools import cache

import pytest
import torch

import convlens
from support.fork_server import run_program
from support.other_device import plain_network
from support.public_functions import NAMES, SIZE, call

# In a process of its own, because torch has one name for such a device for good. The page is left
# out: it is made of the functions, and would take longer than all of them.
QUICK = ("feature_maps", "fgsm", "gradcam", "patches", "predict")
OTHERS = tuple(name for name in NAMES if name not in (*QUICK, "report"))
PROGRAM = """
import json, sys, tempfile, traceback
from pathlib import Path
import torch
import convlens
from support.other_device import other_device, plain_network, register
from support.public_functions import SIZE, call

torch.set_num_threads(1)
register()
errors = {}
with other_device() as device:
    model = convlens.wrap(plain_network().to(device), size=SIZE)
    assert model.device == device
    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            try:
                call(name, model, Path(folder))
            except Exception as error:
                errors[name] = "".join(traceback.format_exception(error))[-3000:]
json.dump(errors, sys.stdout)
"""


@cache
def find_errors(names, source=PROGRAM):
    """The traceback of each function that fails on the other device."""
    status, out, err = run_program(source, names)
    assert status == 0, err
    return json.loads(out)


@pytest.mark.parametrize("name", QUICK)
def test_no_tensor_stays_on_the_cpu(name):
    assert name not in find_errors(QUICK), find_errors(QUICK)[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_no_tensor_of_other_functions_stays_on_the_cpu(name):
    assert name not in find_errors(OTHERS), find_errors(OTHERS)[name]


def test_a_tensor_that_stays_on_the_cpu_is_found():
    source = PROGRAM.replace(
        "call(name, model, Path(folder))", "model.network[0].weight + torch.ones(3)"
    )
    errors = find_errors(("predict",), source)
    assert "mixes tensors of otherdevice and of the CPU" in errors["predict"]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("name", NAMES)
def test_functions_run_on_a_gpu(name, tmp_path):
    call(name, convlens.wrap(plain_network().cuda(), size=SIZE), tmp_path)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_maps_on_a_gpu_are_those_of_the_cpu():
    images = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    on_cpu, on_gpu = (
        convlens.gradcam(convlens.wrap(network, size=SIZE), images, classes=[0, 1])
        for network in (plain_network(), plain_network().cuda())
    )
    assert on_gpu.maps.device.type == "cpu"
    torch.testing.assert_close(on_gpu.maps, on_cpu.maps, rtol=1e-3, atol=1e-5)
