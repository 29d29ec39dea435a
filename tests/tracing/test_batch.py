"""The dimension of the images in each node: moved, folded, mixed, squeezed away, or not there."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import convlens


class Network(nn.Module):
    """A convolution, what a function makes of its maps, and a linear layer."""

    def __init__(self, function, features=4):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.fc = nn.Linear(features, 5)
        self.function = function

    def forward(self, x):
        return self.function(self, self.body(x))


def pooled(maps):
    return F.adaptive_avg_pool2d(maps, 1)


def model_of(function, features=4):
    return convlens.wrap(Network(function, features).eval(), size=8)


def gradcam_by_hand(network, images, class_index):
    """Grad-CAM of images one pair at a time, so that no network drops their dimension."""
    maps = []
    for image in images:
        feature_maps = network.body(image[None].repeat(2, 1, 1, 1)).detach().requires_grad_()
        logits = network.function(network, feature_maps)
        (gradient,) = torch.autograd.grad(logits[0, class_index], feature_maps)
        maps.append((gradient[0].mean((1, 2))[:, None, None] * feature_maps[0]).sum(0))
    return torch.stack(maps)[:, None].detach()


SQUEEZED = {
    "squeeze": lambda net, y: net.fc(pooled(y).squeeze()),
    "squeeze, then softmax over dim 1": lambda net, y: net.fc(pooled(y).squeeze()).softmax(1),
    "squeeze after the linear layer": lambda net, y: net.fc(pooled(y).flatten(1)).squeeze(),
}


@pytest.mark.parametrize("name", SQUEEZED)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_one_image_keeps_its_dimension_in_a_network_that_squeezes(name, count):
    model = model_of(SQUEEZED[name])
    images = torch.rand(count, 3, 8, 8)
    maps = model.network.body(images)
    expected = model.network.fc(maps.mean((2, 3)))
    torch.testing.assert_close(convlens.predict(model, images).logits, expected)
    result = convlens.gradcam(model, images, classes=[3], side="post")
    if "softmax" not in name:
        torch.testing.assert_close(result.maps, gradcam_by_hand(model.network, images, 3))
    assert result.maps.shape == (count, 1, 6, 6)
    assert convlens.fgsm(model, images).logits.shape == (count, 5)


def test_a_single_score_that_is_squeezed_is_one_output():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1)
    )

    class Squeezed(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network

        def forward(self, x):
            return self.inner(x).squeeze()

    model = convlens.wrap(Squeezed(), size=8)
    images = torch.rand(3, 3, 8, 8)
    for part in (images, images[:1]):
        torch.testing.assert_close(convlens.predict(model, part).logits, network(part))


MOVED = {
    "images second": lambda y: y.transpose(0, 1),
    "images third": lambda y: y.permute(2, 1, 0, 3),
    "images last": lambda y: y.permute(2, 1, 3, 0),
}


@pytest.mark.parametrize("name", MOVED)
def test_maps_are_followed_where_the_images_are_not_first(name):
    class Moved(Network):
        def __init__(self):
            super().__init__(None)
            self.marked = nn.Identity()

        def forward(self, x):
            y = self.body(x)
            dims = MOVED[name](torch.empty(1, 2, 3, 4)).shape
            moved = MOVED[name](y) * 2.0
            order = [dims.index(number) for number in (1, 2, 3, 4)]
            return self.fc(moved.permute(order).mean((2, 3)))

    model = convlens.wrap(Moved().eval(), size=8)
    trace = convlens.trace(model)
    node = trace.find_node("/mul")
    assert trace.shape(node)[0] == 1
    assert trace.field(node).size == (3, 3)
    images = torch.rand(3, 3, 8, 8)
    maps = 2 * model.network.body(images).detach()
    weights = model.network.fc.weight[2] / 36
    expected = (maps * weights[:, None, None]).sum(1, keepdim=True).detach()
    torch.testing.assert_close(
        convlens.gradcam(model, images, classes=[2], layer="/mul").maps, expected
    )
    shown = convlens.feature_maps(model, images[:1], layer="/mul").maps
    torch.testing.assert_close(shown, maps[0])


def test_a_target_receives_the_output_as_the_network_returns_it():
    """Text recognition: the output is `(T, N, classes)`."""
    model = model_of(lambda net, y: net.fc(y.mean(2).permute(2, 0, 1)))
    images = torch.rand(2, 3, 8, 8)
    result = convlens.gradcam(model, images, target=lambda output: output[3, :, 2], side="post")
    maps = model.network.body(images).detach()
    weights = model.network.fc.weight[2] / 6 / 6
    torch.testing.assert_close(result.maps[:, 0], (maps * weights[:, None, None]).sum(1).detach())
    with pytest.raises(convlens.ConvlensError, match=r"gives \(6, 5\) for each image"):
        convlens.predict(model, images)


NO_DIMENSION = {
    "folded": lambda net, y: net.fc(y.reshape(-1, 1, 6, 6).relu().mean((2, 3)).reshape(-1, 4)),
    "in another order": lambda net, y: net.fc(y.flip(0).relu().flip(0).mean((2, 3))),
    "mixed": lambda net, y: net.fc((y.mean(0, keepdim=True).relu() + y).mean((2, 3))),
}


# A network that mixes images gives a warning, too.
@pytest.mark.filterwarnings("ignore::convlens.ConvlensWarning")
@pytest.mark.parametrize("name", NO_DIMENSION)
def test_a_layer_in_which_no_dimension_holds_the_images_is_refused_and_others_are_not(name):
    model = model_of(NO_DIMENSION[name])
    images = torch.rand(2, 3, 8, 8)
    with pytest.raises(convlens.ConvlensError, match="/relu"):
        convlens.gradcam(model, images, layer="/relu")
    result = convlens.gradcam(model, images, layer="body.1", side="output", classes=[1])
    maps = model.network.body(images).detach().requires_grad_()
    logits = model.network.function(model.network, maps)
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), maps)
    expected = (gradient.mean((2, 3), keepdim=True) * maps).sum(1).detach()
    torch.testing.assert_close(result.maps[:, 0], expected)
    torch.testing.assert_close(convlens.predict(model, images).logits, logits.detach())


def test_a_fold_that_shape_alone_cannot_tell_is_refused():
    """Two parts of each image are folded into the batch and one half is taken again."""

    def halves(net, y):
        parts = y.reshape(len(y) * 2, 2, 6, 6)
        return net.fc(parts[: len(y)].repeat(1, 2, 1, 1).mean((2, 3)))

    model = model_of(halves)
    with pytest.raises(convlens.ConvlensError, match="no dimension holds one image"):
        convlens.predict(model, torch.rand(2, 3, 8, 8))


def test_a_network_of_one_image_at_a_time_says_so():
    model = model_of(lambda net, y: net.fc(y.reshape(1, 4, 36).mean(2)))
    image = torch.rand(1, 3, 8, 8)
    assert convlens.predict(model, image).logits.shape == (1, 5)
    assert convlens.gradcam(model, image).maps.shape == (1, 1, 6, 6)
    with pytest.raises(convlens.ConvlensError, match="does not run on 2 images of 3 x 8 x 8"):
        convlens.predict(model, torch.rand(2, 3, 8, 8))


def test_costs_count_everything_that_is_folded_into_the_batch():
    class Folded(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution, self.fc = nn.Conv2d(1, 4, 3, padding=1, stride=2), nn.Linear(4, 5)
            self.transposed = nn.ConvTranspose2d(4, 2, 3)

        def forward(self, x):
            n, c, h, w = x.shape
            y = self.convolution(x.reshape(n * c, 1, h, w)).relu()
            y = self.transposed(y).reshape(n, c, 2, -1).mean(3).reshape(n, 6)
            return self.fc(y[:, :4].squeeze())

    network = Folded().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.rand(1, 3, 8, 8))
    assert convlens.anatomy(convlens.wrap(network, size=8, channels=3)).multiply_adds == (
        counter.get_total_flops() / 2
    )


def test_a_recurrent_layer_keeps_the_images_apart():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.rnn = nn.Conv2d(3, 4, 3), nn.GRU(24, 5)

        def forward(self, x):
            y = self.body(x).permute(3, 0, 1, 2).flatten(2)
            return self.rnn(y)[0][-1]

    model = convlens.wrap(Recurrent().eval(), size=8)
    images = torch.rand(3, 3, 8, 8)
    torch.testing.assert_close(
        convlens.predict(model, images).logits, model.network(images).detach()
    )


def test_a_network_with_two_inputs_is_refused_by_their_names():
    class Siamese(nn.Module):
        def forward(self, left, right):
            return left + right

    model = convlens.wrap(Siamese(), size=8)
    with pytest.raises(convlens.TraceError, match=r"takes 2 inputs \(left, right\)"):
        convlens.anatomy(model)


def test_a_network_that_reads_its_data_runs_once_on_two_images():
    counts = []

    class Reading(Network):
        def forward(self, x):
            counts.append(len(x))
            y = self.body(x)
            return self.fc((y if y.max().item() > 0.5 else y.relu()).mean((2, 3)))

    model = convlens.wrap(Reading(None).eval(), size=8)
    for number in range(3):
        convlens.trace(model, torch.full((1, 3, 8, 8), number / 4))
    real = counts.count(2)
    images = torch.rand(3, 3, 8, 8)
    torch.testing.assert_close(
        convlens.predict(model, images).logits, model.network(images).detach()
    )
    assert counts.count(2) == real
