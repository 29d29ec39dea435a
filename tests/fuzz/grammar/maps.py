"""Rules of common layers: convolutions, normalization, pooling, padding, branches."""

from collections.abc import Callable

from fuzz.grammar.activations import activate
from fuzz.grammar.composed import scale_by_channel
from fuzz.program import ActivationBlock, Program

NORMS = (
    "nn.BatchNorm2d({c})", "nn.BatchNorm2d({c})", "nn.BatchNorm2d({c})", "nn.InstanceNorm2d({c})",
    "nn.GroupNorm(1, {c})", "nn.GroupNorm({g}, {c})", "nn.LocalResponseNorm(3)",
    "nn.InstanceNorm2d({c}, affine=True, track_running_stats=True)",
)  # fmt: skip
PADDING_MODES = ("zeros", "zeros", "zeros", "reflect", "replicate", "circular")


def convolve(program: Program, x: str, *, outputs: int | None = None, keep: bool = False) -> str:
    """Add a convolution; return the name of its output.

    Args:
        program: the network.
        x: its input.
        outputs: number of channels it gives; default: random.
        keep: whether it keeps the size of the map.
    """
    draw = program.random
    _, channels, height, width = program.shape(x)
    outputs = outputs or draw.choice((3, 4, 6, 8))
    kernel = draw.choice((1, 2, 3, 3, 3, 4, 5, (1, 3), (3, 1), (2, 3)))
    if keep:
        kernel = draw.choice((1, 3, 5, (1, 3), (3, 1)))
    rows, columns = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    dilation = draw.choice((1, 1, 1, 2)) if max(rows, columns) > 1 else 1
    options = []
    if dilation > 1:
        options.append(f"dilation={dilation}")
    same = keep or draw.random() < 0.5
    if same and draw.random() < 0.3:
        options.append("padding='same'")
    elif same:
        padding = (dilation * (rows - 1) // 2, dilation * (columns - 1) // 2)
        options.append(f"padding={padding}")
    elif draw.random() < 0.4:
        options.append(f"padding={draw.choice((1, 2, (1, 0), (0, 2)))}")
    mode = draw.choice(PADDING_MODES)
    if mode != "zeros" and any(option.startswith("padding") for option in options):
        options.append(f"padding_mode='{mode}'")
    if not keep and "padding='same'" not in options and height * width >= 64:
        stride = draw.choice((1, 1, 1, 2, 2, 3, (1, 2), (2, 1)))
        if stride != 1:
            options.append(f"stride={stride}")
    if draw.random() < 0.2 and channels > 1:
        groups = draw.choice([g for g in range(2, channels + 1) if channels % g == 0])
        options.append(f"groups={groups}")
        outputs = groups * max(1, outputs // groups) if outputs % groups else outputs
    if draw.random() < 0.2:
        options.append("bias=False")
    arguments = ", ".join([f"{channels}, {outputs}, {kernel}", *options])
    return program.apply("conv", f"nn.Conv2d({arguments})", x)


def normalize(program: Program, x: str) -> str:
    """Add a normalization of the channels."""
    draw = program.random
    channels = program.shape(x)[1]
    if draw.random() < 0.12:
        mean = program.assign("mean", f"{x}.mean((2, 3), keepdim=True)")
        scale = program.assign("scale", f"{x}.var((2, 3), keepdim=True, unbiased=False)")
        return program.assign("norm", f"({x} - {mean}) / ({scale} + 1e-5).sqrt()")
    if draw.random() < 0.08:
        name = program.add_module("norm", f"nn.LayerNorm({channels})")
        return program.assign("ln", f"self.{name}({x}.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)")
    groups = draw.choice([g for g in range(1, channels + 1) if channels % g == 0])
    if draw.random() < 0.15:
        return _normalize_by_views(program, x, groups)
    return program.apply("norm", draw.choice(NORMS).format(c=channels, g=groups), x)


def _normalize_by_views(program: Program, x: str, groups: int) -> str:
    """A normalization written out on another shape or layout of the map."""
    draw = program.random
    _, channels, height, width = program.shape(x)
    kind = draw.choice(("instances as a batch", "instances", "groups", "channels last"))
    if kind == "instances as a batch":
        folded = program.assign("folded", f"{x}.reshape(1, n * {channels}, {height}, {width})")
        normed = program.assign("normed", f"F.batch_norm({folded}, None, None, training=True)")
        return program.assign("norm", f"{normed}.view_as({x})")
    if kind == "channels last":
        last = program.assign("last", f"{x}.permute(0, 2, 3, 1)")
        mean_square = program.assign("square", f"{last}.pow(2).mean(-1, keepdim=True)")
        normed = program.assign("normed", f"{last} * torch.rsqrt({mean_square} + 1e-5)")
        return program.assign("norm", f"{normed}.permute(0, 3, 1, 2)")
    shape = f"n, {groups}, -1" if kind == "groups" else f"n, {channels}, {height * width}"
    flat = program.assign("flat", f"{x}.reshape({shape})")
    centered = program.assign("centered", f"{flat} - {flat}.mean(2, keepdim=True)")
    deviation = program.assign("deviation", f"({centered} ** 2).mean(2, keepdim=True)")
    normed = program.assign("normed", f"{centered} / ({deviation} + 1e-5).sqrt()")
    return program.assign("norm", f"{normed}.view_as({x})")


def convolution_block(program: Program, x: str, **options: object) -> str:
    """A convolution, often with normalization and a non-linearity."""
    draw = program.random
    out = convolve(program, x, **options)  # type: ignore[arg-type]
    layer = next(name for name, value in program.module_outputs.items() if value == out)
    if draw.random() < 0.5:
        out = normalize(program, out)
    if draw.random() < 0.08:
        out = scale_by_channel(program, out)
    if draw.random() < 0.85:
        pre = out
        out = activate(program, pre)
        program.blocks.append(ActivationBlock(layer, pre, out))
        if draw.random() < 0.12:
            out = scale_by_channel(program, out)
    return out


def pool(program: Program, x: str) -> str:
    """A pooling by windows."""
    draw = program.random
    kernel = draw.choice((2, 2, 3, (2, 3), (1, 2)))
    stride = draw.choice(("", "", ", stride=1", ", stride=2"))
    padding = draw.choice(("", "", ", padding=1")) if kernel == 3 else ""
    ceil = draw.choice(("", "", ", ceil_mode=True"))
    kinds = {
        "max": f"nn.MaxPool2d({kernel}{stride}{padding}{ceil})",
        "dilated": f"nn.MaxPool2d({kernel}, stride=2, dilation=2{ceil})",
        "avg": f"nn.AvgPool2d({kernel}{stride}{padding}{ceil})",
        "excluding": f"nn.AvgPool2d({kernel}{stride}{padding}, count_include_pad=False)",
        "lp": f"nn.LPPool2d(1, {kernel}{stride}{ceil})",
        "adaptive avg": f"nn.AdaptiveAvgPool2d({draw.choice((3, 4, 5, (4, 3)))})",
        "adaptive max": f"nn.AdaptiveMaxPool2d({draw.choice((3, 4, 5, (4, 3)))})",
    }
    kind = draw.choice(tuple(kinds))
    return program.apply("pool", kinds[kind], x)


def pool_and_unpool(program: Program, x: str) -> str:
    """Max pooling, and max unpooling with its indices."""
    pooled, where = program.assign_parts("pooled", 2, f"F.max_pool2d({x}, 2, return_indices=True)")
    size = program.shape(x)[2:]
    program.marks.add("data-dependent positions")
    return program.assign("unpooled", f"F.max_unpool2d({pooled}, {where}, 2, output_size={size})")


def enlarge(program: Program, x: str) -> str:
    """Upsampling by interpolation, transposed convolution or a shuffle of pixels."""
    draw = program.random
    _, channels, height, width = program.shape(x)
    if height * width > 400:
        raise ValueError("large enough")
    kind = draw.choice(("nearest", "bilinear", "bicubic", "transposed", "shuffle", "size"))
    if kind == "nearest":
        return program.apply("up", "nn.Upsample(scale_factor=2)", x)
    if kind == "transposed":
        groups = draw.choice((1, 1, channels))
        more = draw.choice(("", ", padding=1", ", output_padding=1", ", dilation=2"))
        module = f"nn.ConvTranspose2d({channels}, {channels}, 3, stride=2{more}, groups={groups})"
        return program.apply("up", module, x)
    if kind == "shuffle":
        x = convolve(program, x, outputs=4 * draw.choice((2, 3)), keep=True)
        if program.shape(x)[1] % 4:
            raise ValueError("groups changed the number of channels")
        return program.apply("shuffle", "nn.PixelShuffle(2)", x)
    program.marks.add("zero taps")
    if kind == "size":
        size = (height + draw.choice((1, 3)), width + draw.choice((0, 2)))
        return program.assign("up", f"F.interpolate({x}, size={size}, mode='bilinear')")
    align = draw.choice(("", ", align_corners=True"))
    return program.assign("up", f"F.interpolate({x}, scale_factor=2, mode='{kind}'{align})")


def pad(program: Program, x: str) -> str:
    """Padding by itself."""
    draw = program.random
    mode = draw.choice(("constant", "reflect", "replicate", "circular"))
    sides = [draw.choice((0, 1, 2)) for _ in range(4)]
    return program.assign("padded", f"F.pad({x}, {sides}, mode='{mode}')")


def residual(program: Program, x: str) -> str:
    """One or two convolutions and a connection around them."""
    draw = program.random
    channels = program.shape(x)[1]
    branch = convolution_block(program, x, keep=True)
    branch = convolve(program, branch, outputs=channels, keep=True)
    if program.shape(branch)[1] != channels:
        raise ValueError("groups changed the number of channels")
    if draw.random() < 0.5:
        branch = normalize(program, branch)
    joined = program.assign("sum", draw.choice((f"{x} + {branch}", f"{branch}.add({x})",
                                                f"0.5 * {branch} + {x}")))  # fmt: skip
    if draw.random() < 0.6:
        return activate(program, joined)
    return joined


def branches(program: Program, x: str) -> str:
    """Two or three branches, joined along the channels or element by element."""
    draw = program.random
    join = draw.choice(("cat", "cat", "sum", "product", "maximum", "stack"))
    outputs = 4
    parts = []
    for _ in range(draw.choice((2, 2, 3))):
        if join == "cat" and draw.random() < 0.2:
            parts.append(program.apply("pool", "nn.MaxPool2d(3, stride=1, padding=1)", x))
            continue
        part = convolution_block(program, x, outputs=outputs, keep=True)
        if join != "cat" and program.shape(part)[1] != outputs:
            raise ValueError("groups changed the number of channels")
        parts.append(part)
    listed = ", ".join(parts)
    forms = {
        "cat": f"torch.cat([{listed}], 1)",
        "sum": " + ".join(parts),
        "product": " * ".join(parts),
        "maximum": f"torch.maximum({parts[0]}, {parts[1]})",
        "stack": f"torch.stack([{listed}]).{draw.choice(('mean', 'sum'))}(0)",
    }
    return program.assign(join, forms[join])


def squeeze_and_excite(program: Program, x: str) -> str:
    """Channels scaled by a function of their means."""
    channels = program.shape(x)[1]
    name = program.add_module(
        "gate", f"nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d({channels}, 2, 1), nn.ReLU(), "
        f"nn.Conv2d(2, {channels}, 1), nn.Sigmoid())"
    )  # fmt: skip
    return program.assign("gated", f"{x} * self.{name}({x})")


def run_twice(program: Program, x: str) -> str:
    """One module that runs two times."""
    channels = program.shape(x)[1]
    name = program.add_module("shared", f"nn.Conv2d({channels}, {channels}, 3, padding=1)")
    x = program.assign("act", f"torch.relu({program.call(name, x)})")
    x = program.call(name, x)
    return program.assign("act", f"torch.relu({x})")


RULES: tuple[tuple[Callable[[Program, str], str], float], ...] = (
    (convolution_block, 6),
    (pool, 3),
    (pool_and_unpool, 0.5),
    (enlarge, 1.2),
    (pad, 0.7),
    (residual, 2),
    (branches, 2),
    (squeeze_and_excite, 1),
    (run_twice, 0.6),
)
