"""What a trace cannot follow is stated in the results: unknown activations, layers without maps."""

import pytest
import torch
from torch import nn

import convlens
from convlens.tracing.receptive_field.rules import pointwise


@torch.library.custom_op("convlens_test::square_gate", mutates_args=())
def square_gate(x: torch.Tensor) -> torch.Tensor:
    return x * x.sigmoid()


@square_gate.register_fake
def _(x):
    return torch.empty_like(x)


def _backward(ctx, gradient):
    gate = ctx.x.sigmoid()
    return gradient * gate * (1 + ctx.x * (1 - gate))


square_gate.register_autograd(
    _backward, setup_context=lambda ctx, inputs, output: setattr(ctx, "x", inputs[0])
)


class Network(nn.Module):
    """Two convolutions with functions between them."""

    def __init__(self, first, second):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)
        self.first, self.second = first, second

    def forward(self, x):
        return self.head(self.second(self.b(self.first(self.a(x)))).mean((2, 3)))


def wrap(first, second):
    return convlens.wrap(Network(first, second).eval(), size=(8, 10))


def images():
    return torch.rand(2, 3, 8, 10, generator=torch.Generator().manual_seed(0))


WARNING = "b is read before what may be the non-linearity: convlens_test::square_gate"


@pytest.mark.filterwarnings("ignore::convlens.ConvlensWarning")
@pytest.mark.parametrize("layers", [None, ["b"]])
def test_patches_before_an_unknown_operation_say_so(layers):
    model = wrap(torch.relu, square_gate)
    (warning,) = convlens.patches(model, images(), layers=layers, top=1, show=1).warnings
    assert WARNING in warning
    with convlens.register_operation("convlens_test::square_gate", receptive_field=pointwise):
        patches = convlens.patches(model, images(), layers=layers, top=1, show=1)
    assert patches.warnings == ()
    network = model.network
    post = square_gate(network.b(torch.relu(network.a(images()))))
    torch.testing.assert_close(patches["b"].values[:, 0], post.amax((0, 2, 3)).detach())


@pytest.mark.filterwarnings("ignore::convlens.ConvlensWarning")
def test_the_side_named_output_needs_no_non_linearity():
    model = wrap(torch.relu, square_gate)
    assert convlens.gradcam(model, images(), layer="b", side="output").warnings == ()
    (warning,) = convlens.gradcam(model, images(), layer="b").warnings
    assert WARNING in warning


@pytest.mark.filterwarnings("ignore::convlens.ConvlensWarning")
def test_grad_cam_at_an_earlier_layer_names_the_later_ones():
    model = wrap(square_gate, torch.relu)
    cam = convlens.gradcam(model, images())
    assert cam.nodes == ("a",)
    assert any(
        "Grad-CAM is at a, because b, which runs later, has no maps" in warning
        and "square_gate" in warning
        for warning in cam.warnings
    )
    reason = convlens.anatomy(model).final_reason
    assert "every path passes through" in reason
    assert "b, which runs later, has no maps" in reason and "square_gate" in reason


def change_halves(x):
    result = x.clone()
    result[:, :2].relu_()
    result[:, 2:].tanh_()
    return result


def scale_negative(x):
    result, negative = x.clone(), x < 0
    result[negative] = 0.1 * result[negative]
    return result


def put_positive(x):
    flat = x.reshape(-1)
    positive = (flat > 0).nonzero()[:, 0]
    return torch.zeros_like(flat).index_put((positive,), flat[positive]).view_as(x)


@pytest.mark.filterwarnings("ignore::convlens.ConvlensWarning")
@pytest.mark.parametrize(
    ("activation", "reason"),
    [
        (change_halves, "in a part of a tensor, where no run can be stopped"),
        (scale_negative, "index, which chooses elements by their values"),
        (put_positive, "index, which chooses elements by their values"),
    ],
)
def test_activations_that_cannot_be_followed_are_named(activation, reason):
    (warning,) = convlens.patches(
        wrap(torch.relu, activation), images(), layers=["b"], top=1, show=1
    ).warnings
    assert reason in warning and "b is read before what may be the non-linearity" in warning


@pytest.mark.filterwarnings("ignore::convlens.ConvlensWarning")
def test_a_final_layer_whose_non_linearity_is_unknown_says_so():
    cam = convlens.gradcam(wrap(torch.relu, scale_negative), images())
    (warning,) = cam.warnings
    assert "index_put, which chooses elements by their values; if it is a non-linearity" in warning


def to_complex(x):
    return torch.complex(x, x.flip(1)) * torch.polar(torch.ones(()), torch.tensor(0.3))


def test_what_follows_complex_numbers_has_maps():
    model = wrap(lambda x: to_complex(x).abs(), torch.relu)
    network, x = model.network, images()
    pre = network.b(to_complex(network.a(x)).abs()).detach().requires_grad_()
    score = network.head(pre.relu().mean((2, 3)))[:, 0].sum()
    (gradient,) = torch.autograd.grad(score, pre)
    cam = convlens.gradcam(model, x, classes=[0])
    expected = (gradient.mean((2, 3), keepdim=True) * pre).sum(1).detach()
    torch.testing.assert_close(cam.maps[:, 0], expected)
    assert cam.nodes == ("b",) and cam.warnings == ()


class ToComplex(nn.Module):
    def forward(self, x):
        return to_complex(x)


def test_complex_numbers_are_no_map():
    model = wrap(nn.Sequential(ToComplex(), nn.Identity()), lambda x: x.relu())
    model.network.b = nn.Sequential(Magnitude(), model.network.b)
    with pytest.raises(convlens.ConvlensError, match=r"first of .*complex numbers"):
        convlens.gradcam(model, images(), layer="first")


class Magnitude(nn.Module):
    def forward(self, x):
        return x.abs()


class Experts(nn.Module):
    """Each image goes to the expert that its own values choose."""

    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList(nn.Conv2d(3, 4, 3, padding=1) for _ in range(2))
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        expert = (x.mean((1, 2, 3)) > 0.5).long()
        maps = x.new_zeros(len(x), 4, *x.shape[2:])
        for number, convolution in enumerate(self.experts):
            if (expert == number).any():
                maps[expert == number] = convolution(x[expert == number])
        return self.head(maps.relu().mean((2, 3)))


def test_images_chosen_by_their_values_are_refused_with_the_operation():
    model = convlens.wrap(Experts().eval(), size=(8, 10))
    with pytest.raises(convlens.ConvlensError, match=r"as index(_put)? chooses them by values"):
        convlens.gradcam(model, images())
