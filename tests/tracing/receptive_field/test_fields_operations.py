"""Receptive fields of single operations: views, slices, other arguments, resizing, the unknown."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from support.field_networks import Do, concatenated, conv, field_size, traced


def test_write_through_a_view_of_another_rank_stays_local():
    class Written(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = conv(3, 8, 3, padding=1), conv(8, 4, 3, padding=1)

        def forward(self, x):
            x = self.first(x)
            x.view(-1, 2, 4, *x.shape[2:]).relu_()
            return self.second(x)

    model_trace = traced(Written(), (16, 16))
    assert field_size(model_trace, "second") == (5, 5)


def nothing_first(x):
    return torch.cat([x[:, :, :0], x, x[:, :, 12:]], 2)


def nothing_set(x):
    out = x.clone()
    out[:, :0] = x[:, 4:] * 2
    out[:, :, 12:] = 0
    return out


@pytest.mark.parametrize("function", [nothing_first, nothing_set])
def test_slices_that_are_empty_change_nothing(function):
    model_trace = traced(nn.Sequential(conv(3, 4, 3, padding=1), Do(function)), (12, 12))
    field = model_trace.field(model_trace.find_node("1"))
    assert field.size == (3, 3) and field.offset == (-1, -1)


def test_global_pooling_leaves_no_map():
    network = nn.Sequential(conv(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    model_trace = traced(network, (12, 10))
    for path in ("1", "2", "3"):
        node = model_trace.find_node(path)
        assert model_trace.field(node) is None
        assert model_trace.pixel_range(node) == ((0, 11), (0, 9), True)


def test_a_map_whose_fields_cover_the_image_is_still_a_map():
    # Channels that see differently, mixed at each position on its own.
    network = nn.Sequential(
        concatenated(conv(3, 2, 9, padding=4), conv(3, 2, 11, padding=5)),
        Do(lambda x: x.permute(0, 2, 3, 1)), nn.Linear(4, 4),
        Do(lambda x: x.permute(0, 3, 1, 2)), conv(4, 4, 3, padding=1),
    )  # fmt: skip
    model_trace = traced(network, (4, 4))
    for path in ("0", "2", "4"):
        field = model_trace.field(model_trace.find_node(path))
        assert field is not None
        assert not field.sees_whole_image
    assert model_trace.field(model_trace.find_node("2")).size == (11, 11)


# dependence through other arguments than the first


class FromTheWholeImage(nn.Module):
    """A map, and numbers pooled from it that are used in another way than as a factor."""

    def __init__(self, use):
        super().__init__()
        self.first = conv(3, 4, 3, padding=1)
        self.use = Do(lambda x: use(x, x.mean((2, 3), keepdim=True)))

    def forward(self, x):
        return self.use(self.first(x))


DYNAMIC = {
    "kernel": lambda x, pooled: F.conv2d(x, pooled.view(-1, 4, 1, 1)[:1].expand(4, -1, 3, 3)),
    "bias": lambda x, pooled: F.conv2d(x, torch.ones(4, 4, 3, 3).to(x), pooled[0].flatten()),
    "fill": lambda x, pooled: x + torch.zeros_like(x).fill_(pooled.mean()),
    "norm's weight": lambda x, pooled: F.layer_norm(
        x.permute(0, 2, 3, 1), (4,), pooled[0].flatten()
    ).permute(0, 3, 1, 2),
    "group norm's weight": lambda x, pooled: F.group_norm(x, 4, pooled[0].flatten()),
    "linear's weight": lambda x, pooled: F.linear(
        x.permute(0, 2, 3, 1), pooled[0].view(1, 4).expand(4, 4)
    ).permute(0, 3, 1, 2),
    "linear's bias": lambda x, pooled: F.linear(
        x.permute(0, 2, 3, 1), torch.ones(4, 4).to(x), pooled[0].flatten()
    ).permute(0, 3, 1, 2),
    "batch norm's bias": lambda x, pooled: F.batch_norm(
        x, torch.zeros(4).to(x), torch.ones(4).to(x), None, pooled[0].flatten()
    ),
    "where": lambda x, pooled: torch.where(x > 0, x, pooled),
    "threshold": torch.maximum,
    "attention mask": lambda x, pooled: x + F.scaled_dot_product_attention(
        *[x.permute(0, 2, 3, 1).reshape(-1, 1, 4)] * 3,  # type: ignore[misc]
        attn_mask=pooled.mean().view(1, 1)
    ).view(x.shape[0], *x.shape[2:], 4).permute(0, 3, 1, 2),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*depend on the other images of its batch")
@pytest.mark.parametrize("name", DYNAMIC)
def test_what_enters_by_another_argument_is_flagged(name):
    model_trace = traced(FromTheWholeImage(DYNAMIC[name]), (9, 9))
    node = model_trace.find_node("use")
    field = model_trace.field(node)
    assert node in model_trace.unknown or field is None or field.sees_whole_image


# what is not known


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("_fft_r2c", lambda x: torch.fft.rfft2(x).abs()),
        ("linalg_qr", lambda x: torch.linalg.qr(x).Q),
        ("_cdist_forward", lambda x: torch.cdist(x, x)),
    ],
)  # fmt: skip
def test_unknown_operation_is_flagged_and_sees_everything(name, function):
    network = nn.Sequential(conv(3, 4, 3, padding=1), Do(function))
    model_trace = traced(network, (9, 8))
    node = model_trace.find_node("1")
    assert name in model_trace.unknown.values()
    assert model_trace.field(node) is None or model_trace.field(node).sees_whole_image
    (top, bottom), (left, right), sees_whole_image = model_trace.pixel_range(node)
    assert sees_whole_image
    assert top <= 0 and bottom >= 8 and left <= 0 and right >= 7


# resampling: torch computes its source positions in float32


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
@pytest.mark.parametrize("corners", [None, True])
def test_every_resizing_up_to_60_sees_what_torch_reads(mode, corners):
    if corners and "nearest" in mode:
        pytest.skip("align_corners is of linear and cubic interpolation")
    generator = torch.Generator().manual_seed(4)
    for _ in range(40):
        input_width, output_width = torch.randint(2, 60, (2,), generator=generator).tolist()
        network = nn.Sequential(
            Do(
                lambda x, output_width=output_width: F.interpolate(
                    x, (1, output_width), mode=mode, align_corners=corners
                )
            )
        )
        model_trace = traced(network, (1, input_width))
        field = model_trace.field(model_trace.find_node("0"))
        if field is None:
            assert output_width == 1
            continue
        for dtype in (torch.float32, torch.float64):
            slopes = torch.eye(input_width, dtype=dtype).view(input_width, 1, 1, input_width)
            seen = network(slopes)[:, 0, 0] != 0  # (input_width, output_width)
            for position in range(output_width):
                low, high = int(field.low[1][position]), int(field.high[1][position])
                inputs = seen[:, position].nonzero().flatten().tolist()
                assert all(low <= x <= high for x in inputs), (
                    input_width,
                    output_width,
                    position,
                    dtype,
                )
