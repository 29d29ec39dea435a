"""Networks that use `torch.vmap`, other transforms of `torch.func`, and inference mode.

The oracle is the same network without them.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convlens

SIZE = (10, 12)


class Plain(nn.Module):
    """Two convolutions and a classifier, in parts that subclasses run in other ways."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 4, 3, stride=2)
        self.classifier = nn.Linear(4, 5)

    def gate(self, maps):
        return maps * maps.mean((-2, -1), keepdim=True).sigmoid()

    def features(self, images):
        return F.relu(self.second(self.gate(F.relu(self.first(images)))))

    def classify(self, features):
        return self.classifier(features)

    def forward(self, images):
        return self.classify(self.features(images).mean((2, 3)))


class BatchedGate(Plain):
    def gate(self, maps):
        return torch.vmap(super().gate)(maps)


class BatchedClassifier(Plain):
    def classify(self, features):
        return torch.vmap(self.classifier)(features)


class BatchedFeatures(Plain):
    def features(self, images):
        return torch.vmap(super().features)(images)


class BatchedActivation(Plain):
    def features(self, images):
        maps = self.second(self.gate(F.relu(self.first(images))))
        return torch.vmap(F.relu)(maps)


class InInferenceMode(Plain):
    @torch.inference_mode()
    def forward(self, images):
        return super().forward(images)


class BeginsInInferenceMode(Plain):
    def gate(self, maps):
        with torch.inference_mode():
            gated = super().gate(maps)
        return gated.clone()


class SoftplusByItsGradient(Plain):
    """The sigmoid in the gate is the gradient of softplus."""

    def gate(self, maps):
        def softplus(values):
            return F.softplus(values).sum()

        return maps * torch.func.grad(softplus)(maps.mean((-2, -1), keepdim=True))


def images():
    return torch.rand(3, 3, *SIZE, generator=torch.Generator().manual_seed(0))


def wrap(network):
    return convlens.wrap(network().eval(), size=SIZE)


@pytest.mark.parametrize(
    "network", [BatchedGate, BatchedClassifier, InInferenceMode, SoftplusByItsGradient]
)
def test_results_are_those_of_the_plain_network(network):
    model, plain = wrap(network), wrap(Plain)
    trace, plain_trace = convlens.trace(model), convlens.trace(plain)
    assert trace.warnings == ()
    assert trace.field(trace.find_node("second")).size == (
        plain_trace.field(plain_trace.find_node("second")).size
    )
    probabilities = convlens.predict(plain, images()).probabilities
    torch.testing.assert_close(convlens.predict(model, images()).probabilities, probabilities)
    patches, expected = (convlens.patches(each, images(), show=1) for each in (model, plain))
    torch.testing.assert_close(patches["second"].values, expected["second"].values)
    assert convlens.anatomy(model).multiply_adds == convlens.anatomy(plain).multiply_adds


@pytest.mark.parametrize(
    "network", [BatchedGate, BatchedClassifier, BeginsInInferenceMode, SoftplusByItsGradient]
)
def test_grad_cam_is_that_of_the_plain_network(network):
    cam, expected = (convlens.gradcam(wrap(each), images()) for each in (network, Plain))
    assert cam.nodes == expected.nodes == ("second",)
    torch.testing.assert_close(cam.maps, expected.maps)


def test_layers_inside_a_transform_are_named():
    with pytest.raises(convlens.ConvlensError, match=r"second of .* inside torch"):
        convlens.gradcam(wrap(BatchedFeatures), images(), layer="second")
    (left_out,) = convlens.patches(wrap(BatchedActivation), images(), show=1).left_out
    assert left_out.startswith("second: inside an operation")


def test_predictions_of_a_network_that_runs_inside_a_transform():
    probabilities = convlens.predict(wrap(Plain), images()).probabilities
    inside = convlens.predict(wrap(BatchedFeatures), images())
    torch.testing.assert_close(inside.probabilities, probabilities)


@pytest.mark.parametrize("network", [InInferenceMode, BeginsInInferenceMode])
def test_no_gradient_goes_through_inference_mode(network):
    with pytest.raises(convlens.ConvlensError, match=r"torch\.inference_mode"):
        convlens.fgsm(wrap(network), images())


def test_channels_of_a_network_in_inference_mode():
    class Gray(InInferenceMode):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(1, 6, 3, padding=1)

    assert convlens.wrap(Gray(), size=SIZE).channels == 1
    torch.testing.assert_close(
        convlens.filters(wrap(Gray)).weights, wrap(Gray).network.first.weight
    )
