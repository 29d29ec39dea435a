"""Rules that let positions see each other: attention, recurrence, sampling at other positions."""

from collections.abc import Callable

from fuzz.program import Program


def attend(program: Program, x: str) -> str:
    """Self-attention of all positions."""
    draw = program.random
    _, channels, height, width = program.shape(x)
    if height * width > 150:
        raise ValueError("too many positions")
    tokens = program.assign("tokens", f"{x}.flatten(2).transpose(1, 2)")
    kind = draw.choice(("module", "encoder", "function", "written"))
    if kind == "module":
        heads = 2 if channels % 2 == 0 else 1
        name = program.add_module(
            "attention", f"nn.MultiheadAttention({channels}, {heads}, batch_first=True)"
        )
        weights = draw.choice(("False", "True"))
        out = program.assign(
            "attended", f"self.{name}({tokens}, {tokens}, {tokens}, need_weights={weights})[0]"
        )
    elif kind == "encoder":
        out = program.apply(
            "encoder",
            f"nn.TransformerEncoderLayer({channels}, 1, {2 * channels}, batch_first=True)",
            tokens,
        )
    else:
        normed = program.apply("norm", f"nn.LayerNorm({channels})", tokens)
        qkv = program.apply("qkv", f"nn.Linear({channels}, {3 * channels})", normed)
        q, k, v = program.assign_parts("part", 3, f"{qkv}.chunk(3, -1)")
        if kind == "function":
            out = program.assign("attended", f"F.scaled_dot_product_attention({q}, {k}, {v})")
        else:
            scores = program.assign("scores", f"{q} @ {k}.transpose(1, 2) / {channels**0.5:.3f}")
            out = program.assign("attended", f"{scores}.softmax(-1) @ {v}")
        if draw.random() < 0.6:
            out = program.assign("sum", f"{tokens} + {out}")
    return program.assign("map", f"{out}.transpose(1, 2).reshape(n, {channels}, {height}, {width})")


def attend_in_windows(program: Program, x: str) -> str:
    """Attention inside the rows: each is a batch entry of its own."""
    _, channels, height, width = program.shape(x)
    tokens = program.assign(
        "rows", f"{x}.permute(0, 2, 3, 1).reshape(n * {height}, {width}, {channels})"
    )
    out = program.assign(
        "attended", f"F.scaled_dot_product_attention({tokens}, {tokens}, {tokens})"
    )
    return program.assign(
        "map", f"{out}.view(n, {height}, {width}, {channels}).permute(0, 3, 1, 2)"
    )


def class_token(program: Program, x: str) -> str:
    """A learned token beside the positions, which is taken out again."""
    _, channels, height, width = program.shape(x)
    if height * width > 150:
        raise ValueError("too many positions")
    token = program.add_module("token", f"nn.ParameterList([torch.randn(1, 1, {channels})])")
    places = program.add_module(
        "places", f"nn.ParameterList([torch.randn(1, {height * width + 1}, {channels})])"
    )
    tokens = program.assign("tokens", f"{x}.flatten(2).transpose(1, 2)")
    joined = program.assign(
        "joined", f"torch.cat([self.{token}[0].expand(n, -1, -1), {tokens}], 1) + self.{places}[0]"
    )
    out = program.apply("linear", f"nn.Linear({channels}, {channels})", joined)
    return program.assign(
        "map", f"{out}[:, 1:].transpose(1, 2).reshape(n, {channels}, {height}, {width})"
    )


def recur(program: Program, x: str) -> str:
    """A recurrent layer that goes along the positions, or along the columns of each row."""
    draw = program.random
    _, channels, height, width = program.shape(x)
    if height * width > 100:
        raise ValueError("too many steps")
    kind = draw.choice(("LSTM", "GRU", "RNN"))
    name = program.add_module("rnn", f"nn.{kind}({channels}, {channels}, batch_first=True)")
    if draw.random() < 0.5:
        return program.assign(
            "map",
            f"self.{name}({x}.flatten(2).transpose(1, 2))[0].transpose(1, 2).reshape_as({x})",
        )
    rows = f"{x}.permute(0, 2, 3, 1).reshape(-1, {width}, {channels})"
    return program.assign(
        "map",
        f"self.{name}({rows})[0].view(n, {height}, {width}, {channels}).permute(0, 3, 1, 2)",
    )


def sample(program: Program, x: str) -> str:
    """Sampling at positions of a fixed grid, or of one that the image decides."""
    draw = program.random
    _, channels, height, width = program.shape(x)
    if draw.random() < 0.5:
        program.marks.add("zero taps")
        grid = program.assign(
            "grid",
            f"F.affine_grid(torch.tensor([[[0.9, 0.1, 0.0], [0.0, 1.1, 0.1]]]).expand(n, -1, -1), "
            f"(n, {channels}, {height}, {width}), align_corners=False)",
        )
        return program.assign("map", f"F.grid_sample({x}, {grid}, align_corners=False)")
    program.marks.add("data-dependent positions")
    theta = program.add_module(
        "theta", f"nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear({channels}, 6))"
    )
    grid = program.assign(
        "grid",
        f"F.affine_grid(self.{theta}({x}).view(n, 2, 3), {x}.shape, align_corners=False)",
    )
    return program.assign("map", f"F.grid_sample({x}, {grid}, align_corners=False)")


def deform(program: Program, x: str) -> str:
    """A deformable convolution."""
    channels = program.shape(x)[1]
    program.marks.add("data-dependent positions")
    offsets = program.apply("offsets", f"nn.Conv2d({channels}, 18, 3, padding=1)", x)
    name = program.add_module("deform", f"ops.DeformConv2d({channels}, 4, 3, padding=1)")
    return program.assign("map", f"self.{name}({x}, {offsets})")


def pick_strongest(program: Program, x: str) -> str:
    """The strongest channels or values, in their order."""
    draw = program.random
    channels = program.shape(x)[1]
    program.marks.add("data-dependent positions")
    return program.assign(
        "picked",
        draw.choice(
            (
                f"{x}.topk({max(1, channels // 2)}, 1).values",
                f"{x}.sort(1).values",
                f"torch.gather({x}, 1, {x}.argsort(1))",
            )
        ),
    )


RULES: tuple[tuple[Callable[[Program, str], str], float], ...] = (
    (attend, 1),
    (attend_in_windows, 0.5),
    (class_token, 0.5),
    (recur, 0.5),
    (sample, 0.5),
    (deform, 0.3),
    (pick_strongest, 0.4),
)
