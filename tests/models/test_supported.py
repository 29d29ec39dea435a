"""Networks that cannot be analyzed: one line that names the reason, from every public function."""

import copy

import pytest
import torch
from torch import nn

import convlens
from convlens.errors import ConvlensError
from convlens.models.supported import check_supported


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, images):
        return self.fc(self.conv(images).relu().mean((2, 3)))


def lazy():
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5)).eval()


def quantized():
    network = nn.Sequential(torch.ao.quantization.QuantStub(), nn.Conv2d(3, 4, 3)).eval()
    network.qconfig = torch.ao.quantization.get_default_qconfig("qnnpack")
    torch.ao.quantization.prepare(network, inplace=True)
    network(torch.rand(2, 3, 8, 8))
    return torch.ao.quantization.convert(network)


def scripted_part():
    network = nn.Sequential(Net())
    network[0].add_module("fc", torch.jit.script(nn.Linear(4, 5)))
    return network


NETWORKS = {
    lazy: r"0\.weight is created at the first run",
    quantized: "0 is a quantized layer",
    lambda: torch.ao.quantization.quantize_dynamic(Net()): "fc is a quantized layer",
    scripted_part: r"0\.fc is compiled by TorchScript",
    lambda: Net().to("meta"): r"conv\.weight is on the meta device and has no values",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", NETWORKS)
def test_one_line_with_the_reason(make):
    model = convlens.wrap(make(), size=8, channels=3)
    for function in (convlens.anatomy, convlens.filters, convlens.gradcam, convlens.predict):
        images = (
            [torch.rand(1, 3, 8, 8)] if function in (convlens.gradcam, convlens.predict) else []
        )
        with pytest.raises(ConvlensError, match=NETWORKS[make]) as caught:
            function(model, *images)
        assert "\n" not in str(caught.value)


def test_a_lazy_network_after_its_first_run():
    network, images = lazy(), torch.rand(2, 3, 8, 8)
    model = convlens.wrap(network, size=8)
    with pytest.raises(ConvlensError, match="run it once"):
        model(images)
    answers = network(images)
    parameters = 4 * 27 + 4 + 5 * 4 * 36 + 5
    assert convlens.anatomy(model).parameters == parameters
    assert torch.allclose(convlens.predict(model, images).logits, answers, atol=1e-6)


def test_networks_that_are_only_prepared_for_quantization_are_taken():
    network = copy.deepcopy(Net()).eval()
    network.qconfig = torch.ao.quantization.get_default_qconfig("qnnpack")
    with pytest.warns(DeprecationWarning):
        torch.ao.quantization.prepare(network, inplace=True)
    check_supported(network)


def test_a_program_of_torch_export_is_not_a_network():
    program = torch.export.export(Net().eval(), (torch.rand(1, 3, 8, 8),))
    with pytest.raises(ConvlensError, match=r"ExportedProgram is not .*; give its module\(\)"):
        convlens.wrap(program)  # type: ignore[arg-type]
    model = convlens.wrap(program.module(), size=8)
    costs = convlens.anatomy(model)
    assert costs.parameters == 4 * 27 + 4 + 5 * 4 + 5
    assert costs.multiply_adds == 4 * 27 * 36 + 20
