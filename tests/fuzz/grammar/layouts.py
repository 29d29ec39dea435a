"""Rules that move axes and elements: permutations, reshapes, folded batches, indexing."""

from collections.abc import Callable

from fuzz.grammar.activations import activate
from fuzz.program import Program


def swap_axes(program: Program, x: str) -> str:
    """Rows and columns change places around a convolution, or for good."""
    draw = program.random
    form = draw.choice(
        ("{x}.transpose(2, 3)", "{x}.permute(0, 1, 3, 2)", "{x}.swapaxes(-1, -2)", "{x}.mT")
    )
    channels = program.shape(x)[1]
    swapped = program.assign("swapped", form.format(x=x))
    out = program.apply(
        "conv", f"nn.Conv2d({channels}, {channels}, (1, 3), padding=(0, 1))", swapped
    )
    out = activate(program, out)
    if draw.random() < 0.5:
        out = program.assign("back", form.format(x=out))
    return out


def channels_last(program: Program, x: str) -> str:
    """A section in which the channels come last."""
    draw = program.random
    channels = program.shape(x)[1]
    out = program.assign("last", f"{x}.permute(0, 2, 3, 1){draw.choice(('', '.contiguous()'))}")
    if draw.random() < 0.6:
        out = program.apply("norm", f"nn.LayerNorm({channels})", out)
    if draw.random() < 0.3:
        out = program.assign("mixed", f"{out} + {out}.transpose(1, 2).roll(1, 1).transpose(1, 2)")
    out = program.apply("linear", f"nn.Linear({channels}, {2 * channels})", out)
    out = activate(program, out)
    out = program.apply("linear", f"nn.Linear({2 * channels}, {channels})", out)
    return program.assign("first", f"{out}.permute(0, 3, 1, 2)")


def axial_mixing(program: Program, x: str) -> str:
    """A fully connected layer along the rows, the columns, or the flattened positions."""
    draw = program.random
    _, _, height, width = program.shape(x)
    kind = draw.choice(("columns", "rows", "tokens"))
    if kind == "columns":
        return program.apply("mix", f"nn.Linear({width}, {width})", x)
    if kind == "rows":
        name = program.add_module("mix", f"nn.Linear({height}, {height})")
        return program.assign("mixed", f"self.{name}({x}.transpose(2, 3)).transpose(2, 3)")
    name = program.add_module("mix", f"nn.Linear({height * width}, {height * width})")
    return program.assign("mixed", f"{x} + self.{name}({x}.flatten(2)).view_as({x})")


def along_one_axis(program: Program, x: str) -> str:
    """A one-dimensional convolution or pooling on flattened positions, or on rows as a batch."""
    draw = program.random
    _, channels, height, width = program.shape(x)
    kind = draw.choice(("positions", "rows", "columns", "pooling"))
    conv = f"nn.Conv1d({channels}, {channels}, 3, padding=1)"
    if kind == "positions":
        out = program.apply("conv1d", conv, program.assign("flat", f"{x}.flatten(2)"))
        return program.assign("map", f"{out}.unflatten(2, ({height}, {width}))")
    if kind == "pooling":
        name = program.add_module("pool1d", "nn.AvgPool1d(3, stride=1, padding=1)")
        return program.assign("map", f"self.{name}({x}.flatten(1, 2)).view_as({x})")
    order, inverse = (
        ("0, 2, 1, 3", "0, 2, 1, 3") if kind == "rows" else ("0, 3, 1, 2", "0, 2, 3, 1")
    )
    length, number = (width, height) if kind == "rows" else (height, width)
    folded = program.assign("folded", f"{x}.permute({order}).reshape(-1, {channels}, {length})")
    out = activate(program, program.apply("conv1d", conv, folded))
    return program.assign(
        "map", f"{out}.reshape(n, {number}, {channels}, {length}).permute({inverse})"
    )


def fold_batch(program: Program, x: str) -> str:
    """Channels or windows become images of a larger batch, and return from it."""
    draw = program.random
    _, channels, height, width = program.shape(x)
    conv = "nn.Conv2d(1, 2, 3, padding=1)"
    kind = draw.choice(("channels", "windows", "channels first"))
    if kind == "channels":
        folded = program.assign("folded", f"{x}.reshape(n * {channels}, 1, {height}, {width})")
        out = activate(program, program.apply("conv", conv, folded))
        return program.assign("unfolded", f"{out}.reshape(n, {2 * channels}, {height}, {width})")
    if kind == "channels first":
        folded = program.assign("folded", f"{x}.transpose(0, 1).reshape(-1, 1, {height}, {width})")
        out = activate(program, program.apply("conv", conv, folded))
        return program.assign(
            "unfolded",
            f"{out}.reshape({channels}, n, 2, {height}, {width}).transpose(0, 1).flatten(1, 2)",
        )
    if height % 2 or width % 2:
        raise ValueError("odd sizes have no halves")
    h, w = height // 2, width // 2
    folded = program.assign(
        "windows",
        f"{x}.view(n, {channels}, 2, {h}, 2, {w}).permute(0, 2, 4, 1, 3, 5)"
        f".reshape(-1, {channels}, {h}, {w})",
    )
    conv = f"nn.Conv2d({channels}, {channels}, 3, padding=1)"
    out = activate(program, program.apply("conv", conv, folded))
    return program.assign(
        "map",
        f"{out}.view(n, 2, 2, {channels}, {h}, {w}).permute(0, 3, 1, 4, 2, 5)"
        f".reshape(n, {channels}, {height}, {width})",
    )


def another_rank(program: Program, x: str) -> str:
    """A three-dimensional convolution on one or several slices."""
    draw = program.random
    channels = program.shape(x)[1]
    if draw.random() < 0.5:
        name = program.add_module(
            "conv3d", f"nn.Conv3d({channels}, {channels}, (1, 3, 3), padding=(0, 1, 1))"
        )
        return program.assign("map", f"self.{name}({x}.unsqueeze(2)).squeeze(2)")
    name = program.add_module("conv3d", "nn.Conv3d(1, 1, 3, padding=1)")
    return program.assign("map", f"torch.relu(self.{name}({x}.unsqueeze(1)).squeeze(1))")


def rearrange(program: Program, x: str) -> str:
    """An operation that only moves elements."""
    draw = program.random
    _, channels, height, width = program.shape(x)
    order = draw.sample(range(channels), channels)
    forms = [
        f"{x}.flip(2)", f"{x}.flip(3)", f"{x}.flip(1)", f"{x}.roll((1, -2), (2, 3))",
        f"{x}[:, {order}]", f"{x}.index_select(1, torch.tensor({order}))",
        f"{x}[:, :, 1:, :-1]", f"{x}[..., ::2]", f"{x}[:, :, ::2, 1::2]",
        f"{x}.narrow(2, 1, {max(1, height - 2)})", f"{x}[:, ::2].repeat(1, 2, 1, 1)",
        f"torch.cat({x}.chunk(2, 1)[::-1], 1)", f"torch.rot90({x}, 1, (2, 3))",
        f"{x}[:, :, torch.arange({height - 1}, -1, -1)]",
        f"{x}[:, :, torch.arange({height})[:, None], torch.tensor({list(range(0, width, 2))})]",
        f"torch.gather({x}, 1, torch.tensor({order}).view(1, -1, 1, 1).expand_as({x}))",
        f"torch.take_along_dim({x}, torch.arange({width - 1}, -1, -1).view(1, 1, 1, -1), 3)",
        f"torch.cat([{x}, {x}.flip(3)], 1)",
        f"torch.cat([{x}, {x}], 3)[..., :{width}]",
    ]  # fmt: skip
    if channels % 2 == 0:
        forms.append(
            f"{x}.view(n, 2, {channels // 2}, {height}, {width}).transpose(1, 2).flatten(1, 2)"
        )
        forms.append(f"F.channel_shuffle({x}, 2)")
    if height % 2 == 0 and width % 2 == 0:
        forms.append(f"F.pixel_unshuffle({x}, 2)")
        forms.append(
            f"torch.cat([{x}[..., ::2, ::2], {x}[..., 1::2, ::2], {x}[..., ::2, 1::2]], 1)"
        )
    return program.assign("moved", draw.choice(forms))


def unfold_windows(program: Program, x: str) -> str:
    """Windows cut out by `unfold`, and added up again by `fold`."""
    draw = program.random
    _, channels, height, width = program.shape(x)
    columns = program.assign("columns", f"F.unfold({x}, 3, padding=1)")
    if draw.random() < 0.5:
        return program.assign("map", f"F.fold({columns}, ({height}, {width}), 3, padding=1) / 9")
    return program.assign("map", f"{columns}.view(n, {channels}, 9, {height}, {width}).mean(2)")


def write_in_place(program: Program, x: str) -> str:
    """A part of a copy is overwritten."""
    draw = program.random
    copy = program.assign("copy", f"{x}.clone()")
    line = draw.choice((
        "{c}[:, 0] = {c}[:, 0] * 2", "{c}[:, :, :2] = 0", "{c}[..., 1:3].mul_(0.5)",
        "{c} += {c}.mean()", "{c}.sub_({c}.mean((2, 3), keepdim=True)).div_(1.5)",
    ))  # fmt: skip
    if line.endswith("mean()"):
        program.marks.add("batch dependent")
    if "[:, :, :2]" in line or "[..., 1:3]" in line:
        program.marks.add("absolute positions")
    program.execute((), line.format(c=copy))
    return program.assign("written", f"{copy} * 1.5")


RULES: tuple[tuple[Callable[[Program, str], str], float], ...] = (
    (swap_axes, 1),
    (channels_last, 1),
    (axial_mixing, 0.7),
    (along_one_axis, 0.8),
    (fold_batch, 0.8),
    (another_rank, 0.5),
    (rearrange, 2),
    (unfold_windows, 0.5),
    (write_in_place, 0.5),
)
