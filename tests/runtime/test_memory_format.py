"""Networks that flatten by `.view`, which only run with contiguous images."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import convlens
from convlens import ConvlensError, wrap
from convlens.runtime.memory_format import to_memory_format
from support.public_functions import NAMES, SIZE, WRITING, call, images, photos


class Flattening(nn.Module):
    """A small LeNet; `view` flattens as older tutorials do."""

    def __init__(self, *, view, channels=3, looks=False):
        super().__init__()
        torch.manual_seed(0)
        self.view, self.looks = view, looks
        layers = [nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3)]
        for number, layer in enumerate(layers):
            self.add_module(str(number), layer)
        self.add_module("7", nn.Conv2d(6, 6, 3))
        self.linear = nn.Linear(6 * 3 * 3, 5)

    def forward(self, x):
        if self.looks and x.mean().item() > 1e6:
            return x
        for name in ("0", "1", "2", "3", "7"):
            x = self.get_submodule(name)(x)
        x = F.max_pool2d(F.relu(x), 2)
        return self.linear(x.view(-1, 54) if self.view else x.reshape(-1, 54))


def model(**options):
    return wrap(Flattening(**options).eval(), size=SIZE, name="flattening")


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WRITING])
def test_view_network_gives_what_the_reshaping_one_gives(name, tmp_path, monkeypatch):
    result = call(name, model(view=True), tmp_path)
    # So that the last bits are the same too.
    monkeypatch.setattr(
        "convlens.models.model.choose_memory_format", lambda *args: torch.contiguous_format
    )
    expected = call(name, model(view=False), tmp_path)
    if name == "trace":
        assert result.shape(result.logits) == expected.shape(expected.logits) == (1, 5)
    else:
        assert result == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITING)
def test_view_network_through_what_writes(name, tmp_path):
    call(name, model(view=True), tmp_path)
    assert list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("looks", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_view_network_runs_on_prepared_photos(channels, looks):
    ours = model(view=True, channels=channels, looks=looks)
    theirs = model(view=False, channels=channels, looks=looks)
    prepared = ours.prepare(photos(3))
    with torch.no_grad():
        for batch in (prepared, prepared.contiguous(), prepared[:1]):
            torch.testing.assert_close(ours(batch), theirs(batch))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("view", [False, True])
def test_contiguous_whatever_is_given_but_only_where_it_must_be(view, channels):
    inputs = torch.rand(2, channels, SIZE, SIZE)
    fed = model(view=view, channels=channels)
    chw = (channels * SIZE * SIZE, SIZE * SIZE, SIZE, 1)
    for arranged in (inputs, inputs.contiguous(memory_format=torch.channels_last)):
        for batch in (arranged, arranged[:1], arranged[:, :, :-4, :-4]):
            height = batch.shape[2]
            normalized = fed.normalize(batch)
            assert torch.equal(normalized, batch)
            if height == SIZE:
                assert normalized.stride() == (chw if view else batch.stride())
            assert not view or normalized.is_contiguous()


def test_laid_out_takes_gradients():
    for each in (torch.channels_last, torch.contiguous_format):
        leaf = torch.rand(2, 1, 5, 4, requires_grad=True)
        to_memory_format(leaf, each).square().sum().backward()
        torch.testing.assert_close(leaf.grad, 2 * leaf.detach())


def test_two_images_tell_what_one_cannot():
    class Merging(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            x = self.conv(x)
            return x.view(x.shape[0] * 4, *x.shape[2:]).mean((1, 2)).view(-1, 4)

    fed = wrap(Merging().eval(), size=SIZE)
    assert convlens.predict(fed, images(3)).logits.shape == (3, 4)
    assert fed.normalize(images(1)).is_contiguous()


def test_what_the_network_raises_is_one_line_with_its_cause():
    class Single(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 5, 3)

        def forward(self, x):
            if len(x) > 1:
                raise ValueError("one at a time\nplease")
            return self.conv(x).mean((2, 3))

    fed = wrap(Single().eval(), size=SIZE)
    assert convlens.predict(fed, images(1)).logits.shape == (1, 5)
    with pytest.raises(ConvlensError) as caught:
        convlens.predict(fed, images(2))
    assert str(caught.value) == "Single does not run on 2 images of 3 x 24 x 24: one at a time"
    assert isinstance(caught.value.__cause__, ValueError)


def test_what_the_backward_pass_raises_is_one_line_with_its_cause():
    class Stubborn(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x.clone()

        @staticmethod
        def backward(context, gradient):
            raise RuntimeError("no way back")

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 5, 3)

        def forward(self, x):
            return Stubborn.apply(self.conv(x)).mean((2, 3))

    fed = wrap(Network().eval(), size=SIZE)
    for ask in (
        convlens.fgsm,
        lambda *args: convlens.gradcam(*args, layer="conv", side="output"),
    ):
        with pytest.raises(ConvlensError, match=r"no gradient .*: no way back") as caught:
            ask(fed, images())
        assert isinstance(caught.value.__cause__, RuntimeError)
