"""Receptive fields of indexing, gathering, unpooling, columns, sampling and recurrent layers.

The oracle changes one pixel at a time: outputs that change have to have it in their field, and the
field of what only moves elements is known exactly.
"""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

import convlens
from support.field_networks import Do, conv, traced

SIZE = 9
EVEN_ROWS = torch.arange(0, SIZE, 2).view(1, 1, -1, 1)


class Buffers(nn.Module):
    """Indices in a buffer, in a plain attribute, and computed from them."""

    def __init__(self):
        super().__init__()
        self.register_buffer("order", torch.tensor([3, 1, 0, 2]))
        self.rows = torch.arange(SIZE)

    def forward(self, x):
        return x[:, self.order][:, :, self.rows.flip(0)][:, :, (SIZE - 1) - self.rows]


class Codebook(nn.Module):
    """The nearest vector of a table at each position."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(8, 4)

    def forward(self, x):
        vectors = x.permute(0, 2, 3, 1).reshape(-1, 4)
        distances = (self.table.weight**2).sum(1) - 2 * vectors @ self.table.weight.t()
        shape = (x.shape[0], *x.shape[2:], 4)
        return self.table(distances.argmin(1)).view(shape).permute(0, 3, 1, 2)


class ByColumns(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 36))

    def forward(self, x):
        return (self.weight @ F.unfold(x, 3, padding=1)).view(len(x), 4, *x.shape[2:])


def written_rows(x):
    x = x.clone()
    x[:, :, [0, SIZE - 1]] = 0
    x[:, [0, 1]] = x[:, [2, 3]]
    return x


# What is done after a 3 x 3 convolution; size, stride and offset of the field.
LOCAL = {
    "list": (lambda x: x[:, [2, 1, 0]], (3, 3), (1, 1), (-1, -1)),
    "tensor": (lambda x: x[:, torch.tensor([2, 1, 0])], (3, 3), (1, 1), (-1, -1)),
    "rows": (lambda x: x[:, :, [2, 4, 6]], (3, 3), (2, 1), (1, -1)),
    "grid": (
        lambda x: x[:, :, torch.tensor([[0], [2], [4]]), torch.tensor([1, 3])],
        (3, 3), (2, 2), (-1, 0),
    ),
    "buffers": (Buffers(), (3, 3), (1, 1), (-1, -1)),
    "index_select": (
        lambda x: x.index_select(3, torch.arange(0, SIZE, 4)), (3, 3), (1, 4), (-1, -1)
    ),
    "unknown channels": (lambda x: x[:, torch.randperm(4)], (3, 3), (1, 1), (-1, -1)),
    "gather": (lambda x: x.gather(1, x.argmax(1, keepdim=True)), (3, 3), (1, 1), (-1, -1)),
    "gather rows": (
        lambda x: x.gather(2, EVEN_ROWS.expand(len(x), 4, 5, SIZE)),
        (3, 3), (2, 1), (-1, -1),
    ),
    "sorted channels": (
        lambda x: torch.take_along_dim(x, x.argsort(1), 1), (3, 3), (1, 1), (-1, -1)
    ),
    "top channels": (lambda x: x.topk(2, 1).values, (3, 3), (1, 1), (-1, -1)),
    "one hot": (
        lambda x: F.one_hot(x.argmax(1), 4).permute(0, 3, 1, 2) * x, (3, 3), (1, 1), (-1, -1)
    ),
    "scatter": (
        lambda x: torch.zeros_like(x).scatter(1, x.argmax(1, keepdim=True), 1.0) * x,
        (3, 3), (1, 1), (-1, -1),
    ),
    "columns added in reverse": (
        lambda x: torch.zeros_like(x).index_add(3, torch.arange(SIZE).flip(0), x),
        (3, 3), (1, -1), (-1, 7),
    ),
    "greatest of three columns": (
        lambda x: torch.zeros_like(x[..., :3]).scatter_reduce(
            3, (torch.arange(SIZE) // 3).expand_as(x), x, "amax", include_self=False
        ),
        (3, 5), (1, 3), (-1, -1),
    ),
    "codebook": (Codebook(), (3, 3), (1, 1), (-1, -1)),
    "written rows": (written_rows, (3, 3), (1, 1), (-1, -1)),
    "channels up to": (lambda x: x.cumsum(1), (3, 3), (1, 1), (-1, -1)),
    "turned": (lambda x: torch.rot90(x, 2, (2, 3)), (3, 3), (-1, -1), (7, 7)),
    "columns": (ByColumns(), (5, 5), (1, 1), (-2, -2)),
    "columns as channels": (
        lambda x: F.unfold(x, 3, stride=2).view(len(x), 36, 4, 4), (5, 5), (2, 2), (-1, -1)
    ),
    "columns and back": (
        lambda x: F.fold(F.unfold(x, 3, stride=3), (SIZE, SIZE), 3, stride=3),
        (3, 3), (1, 1), (-1, -1),
    ),
    "unpooling": (
        lambda x: F.max_unpool2d(*F.max_pool2d(x, 3, return_indices=True), (3, 3)),
        (5, 5), (None, None), (-1, -1),
    ),
    "overlapping unpooling": (
        lambda x: F.max_unpool2d(*F.max_pool2d(x, 3, 2, return_indices=True), (3, 3), (2, 2)),
        (None, None), (None, None), (-3, -3),
    ),
    "rows up to": (lambda x: x.cumsum(2), (None, 3), (None, 1), (-1, -1)),
}  # fmt: skip


def network_with(piece, after=None):
    piece = piece if isinstance(piece, nn.Module) else Do(piece)
    torch.manual_seed(0)
    return nn.Sequential(conv(3, 4, 3, padding=1), piece, *([after] if after else [])).eval()


@pytest.mark.filterwarnings("ignore:.* draws random numbers")
@pytest.mark.parametrize("name", LOCAL)
def test_local_operations_have_their_field_and_are_blind_outside_it(name):
    piece, size, stride, offset = LOCAL[name]
    network = network_with(piece)
    model_trace = traced(network, (SIZE, SIZE))
    assert model_trace.recording.faked
    node = model_trace.find_node("1")
    field = model_trace.field(node)
    assert (field.size, field.stride, field.offset) == (size, stride, offset)
    assert not field.sees_whole_image and model_trace.spatial_dims(node) == (2, 3)

    def outputs(images):
        torch.manual_seed(1)  # for the permutation
        with torch.no_grad():
            return network(images)

    generator = torch.Generator().manual_seed(2)
    image = torch.rand(1, 3, SIZE, SIZE, generator=generator)
    plain = outputs(image)
    for y, x in [(0, 0), (1, 7), (4, 4), (5, 2), (8, 8)]:
        other = image.clone()
        other[..., y, x] += 50
        changed = (outputs(other) != plain).any(1)[0]
        rows = (field.low[0] <= y) & (field.high[0] >= y)
        columns = (field.low[1] <= x) & (field.high[1] >= x)
        assert not changed[~(rows[:, None] & columns)].any()


class RowByRow(nn.Module):
    """A recurrent layer along each row, as in ReNet."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        n, c, h, w = x.shape
        rows, _ = self.layer(x.permute(0, 2, 3, 1).reshape(n * h, w, c))
        return rows.reshape(n, h, w, -1).permute(0, 3, 1, 2)


def sampled(x):
    grid = F.affine_grid(
        torch.eye(2, 3).expand(len(x), -1, -1).to(x), x.size(), align_corners=False
    )
    return F.grid_sample(x, grid + x.mean(), align_corners=False)


def deformed(x):
    offsets = x[:, :1].repeat(1, 18, 1, 1)
    return torchvision.ops.deform_conv2d(x, offsets, torch.ones(4, 4, 3, 3).to(x), padding=1)


GLOBAL = {
    "sampled": (sampled, (SIZE, SIZE)),
    "deformed": (deformed, (SIZE, SIZE)),
    "both ways": (RowByRow(nn.LSTM(4, 2, bidirectional=True, batch_first=True)), (5, SIZE)),
}


@pytest.mark.filterwarnings("ignore:.*depend on the other images of its batch")
@pytest.mark.parametrize("name", GLOBAL)
def test_what_follows_an_operation_with_a_global_field_is_still_a_map(name):
    piece, size = GLOBAL[name]
    network = network_with(piece, conv(4, 4, 3, padding=1))
    model_trace = traced(network, (SIZE, SIZE))
    for path in ("1", "2"):
        node = model_trace.find_node(path)
        field = model_trace.field(node)
        assert model_trace.spatial_dims(node) == (2, 3) and model_trace.shape(node) == (
            1,
            4,
            SIZE,
            SIZE,
        )
        assert field.sees_whole_image and field.size[1] == SIZE
    assert field.size == size
    assert model_trace.convolutions[-1].node == node
    assert model_trace.final_layer is None  # the network has no class scores


def test_a_layer_behind_a_spatial_transformer_has_maps_and_gradcam():
    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.locate = nn.Sequential(conv(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            self.shift = nn.Linear(2, 6)
            self.body = nn.Sequential(conv(3, 4, 3), nn.ReLU())
            self.fc = nn.Linear(4, 3)

        def forward(self, x):
            theta = self.shift(self.locate(x)).view(-1, 2, 3) + torch.eye(2, 3)
            grid = F.affine_grid(theta, x.size(), align_corners=False)
            x = F.grid_sample(x, grid, align_corners=False)
            return self.fc(self.body(x).mean((2, 3)))

    torch.manual_seed(0)
    network = Transformer().eval()
    images = torch.rand(2, 3, SIZE, SIZE)
    grid = F.affine_grid(
        network.shift(network.locate(images)).view(-1, 2, 3) + torch.eye(2, 3),
        list(images.shape), align_corners=False,
    )  # fmt: skip
    maps = network.body[0](F.grid_sample(images, grid, align_corners=False))
    maps = maps.detach().requires_grad_()
    scores = network.fc(maps.relu().mean((2, 3)))[:, 2]
    (gradient,) = torch.autograd.grad(scores.sum(), maps)
    expected = (gradient.mean((2, 3), keepdim=True) * maps).sum(1)
    model = convlens.wrap(network, size=SIZE)
    result = convlens.gradcam(model, images, classes=[2])
    torch.testing.assert_close(result.maps[:, 0], expected)
    layers = [layer.layer for layer in convlens.patches(model, images, top=1, show=1).layers]
    assert layers == ["locate.0", "body.0"]
