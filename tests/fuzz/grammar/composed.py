"""Non-linearities written in several lines: parts, masks in place, views, other layouts."""

from collections.abc import Callable

from fuzz.program import Program

# Their results are known to be functions of x alone, whatever convlens finds.
POINTWISE = (
    "F.relu({x})", "{x} * {x}.sigmoid()", "{x} * F.relu6({x} + 3) / 6", "torch.tanh({x})",
    "F.elu({x})", "torch.where({x} > 0, {x}, 0.1 * {x})", "{x}.clamp(-1, 1)", "F.gelu({x})",
    "0.5 * {x} * (1 + torch.erf({x} / 1.4142135623730951))", "torch.maximum({x}, 0.2 * {x})",
)  # fmt: skip


def compose(program: Program, x: str) -> str:
    """Add a non-linearity of several lines; return the name of what it returns."""
    forms: list[Callable[[Program, str], str]] = [
        _by_lines, _in_parts, _by_mask, _by_mask, _on_a_view, _on_a_view, _by_stack, _into_parts,
    ]  # fmt: skip
    return program.random.choice(forms)(program, x)


def _by_lines(program: Program, x: str) -> str:
    draw = program.random
    kind = draw.choice(("swish", "hard swish", "gelu", "mish", "shifted softplus"))
    if kind == "swish":
        slope = draw.choice(("", " * 1.5"))
        gate = program.assign("gate", f"torch.sigmoid({x}{slope})")
    elif kind == "hard swish":
        shifted = program.assign("shifted", f"{x} + 3")
        gate = program.assign("gate", f"{shifted}.clamp(0, 6)")
        gate = program.assign("gate", f"{gate} / 6")
    elif kind == "gelu":
        cubic = program.assign("cubic", f"{x} + 0.044715 * torch.pow({x}, 3)")
        gate = program.assign("gate", f"torch.tanh({cubic} * 0.7978845608)")
        gate = program.assign("gate", f"0.5 * (1.0 + {gate})")
    elif kind == "mish":
        soft = program.assign("soft", f"torch.log(1 + torch.exp({x}))")
        gate = program.assign("gate", f"{soft}.tanh()")
    else:
        soft = program.assign("soft", f"F.softplus({x})")
        return program.assign("act", f"{soft} - 0.6931471806")
    return program.assign(
        "act", draw.choice((f"{x} * {gate}", f"{gate} * {x}", f"{gate}.mul_({x})"))
    )


def _in_parts(program: Program, x: str) -> str:
    """Parts of the map, each by itself, in their order again."""
    draw = program.random
    _, channels, height, _ = program.shape(x)
    cut, dim = draw.choice(
        (("chunk(2, 1)", 1), (f"split({max(1, height // 2)}, 2)", 2), ("unbind(1)", 1))
    )
    function = draw.choice(POINTWISE).format(x="part")
    join = "stack" if cut.startswith("unbind") else "cat"
    if channels > 1 and cut.startswith("chunk") and draw.random() < 0.5:
        first, second = program.assign_parts("part", 2, f"{x}.chunk(2, 1)")
        other = draw.choice(POINTWISE)
        return program.assign(
            "act",
            f"torch.cat([{draw.choice(POINTWISE).format(x=first)}, {other.format(x=second)}], 1)",
        )
    return program.assign("act", f"torch.{join}([{function} for part in {x}.{cut}], {dim})")


def _by_mask(program: Program, x: str) -> str:
    """A copy that is overwritten where a mask of the map is true."""
    copy = program.assign("act", f"{x}.clone()")
    line = program.random.choice((
        "{y}.masked_fill_({x} < 0, 0)", "{y}.masked_fill_({y} < 0, 0)", "{y}[{x} < 0] = 0",
        "{y}[{x} < 0] *= 0.1", "{y}[{y} < 0] = 0.1 * {y}[{y} < 0]", "{y}.mul_({x} > 0)",
        "{y}.copy_(torch.where({x} < 0, 0.1 * {x}, {x}))", "{y}[{y}.abs() > 1] = 1",
        "{y} *= ({y} > 0)", "{y}[{y} < 0] = 0", "{y}[{y}.abs() < 0.1] = 0",
        "{y}[:] = {y}.clamp(min=-0.2)", "{y}.abs_()",
    ))  # fmt: skip
    program.execute((copy,), line.format(x=x, y=copy))
    return copy


def _on_a_view(program: Program, x: str) -> str:
    """The map in another layout, and in its own again."""
    there, back = program.random.choice((
        ("{x}.flatten(2)", "{y}.view_as({x})"),
        ("{x}.flatten()", "{y}.reshape({x}.shape)"),
        ("{x}.permute(0, 2, 3, 1)", "{y}.permute(0, 3, 1, 2)"),
        ("{x}.permute(0, 2, 3, 1).contiguous()", "{y}.permute(0, 3, 1, 2).contiguous()"),
        ("{x}.flatten(2).transpose(1, 2)", "{y}.transpose(1, 2).reshape({x}.shape)"),
        ("{x}.mT", "{y}.mT"),
        ("{x}.unsqueeze(1)", "{y}.squeeze(1)"),
        ("{x}.flip(3)", "{y}.flip(3)"),
        ("{x}.as_strided({x}.shape, {x}.stride())", "{y} * 1"),
    ))  # fmt: skip
    view = program.assign("view", there.format(x=x))
    out = program.assign("act", program.random.choice(POINTWISE).format(x=view))
    return program.assign("act", back.format(x=x, y=out))


def _by_stack(program: Program, x: str) -> str:
    return program.assign("act", program.random.choice((
        f"torch.stack([{x}, 0.1 * {x}]).amax(0)",
        f"torch.stack([{x}, torch.zeros_like({x})], -1).max(-1).values",
        f"torch.einsum('nchw,nchw->nchw', {x}, {x}.sigmoid())",
        f"torch.stack([{x}, {x}.sigmoid()]).prod(0)",
        f"F.glu(torch.cat([{x}, {x}], 1), 1)",
        f"torch.logsumexp(torch.stack([{x}, torch.zeros_like({x})]), 0)",
    )))  # fmt: skip


def _into_parts(program: Program, x: str) -> str:
    """Parts of another tensor are assigned."""
    draw = program.random
    channels = program.shape(x)[1]
    at = max(1, channels // 2)
    out = program.assign("act", draw.choice((f"torch.empty_like({x})", f"{x}.clone()")))
    for part in (f"[:, :{at}]", f"[:, {at}:]"):
        function = draw.choice(POINTWISE).format(x=f"{x}{part}")
        program.execute((out,), f"{out}{part} = {function}")
    return out


def scale_by_channel(program: Program, x: str) -> str:
    """Add a factor for each channel, which is no part of a non-linearity."""
    channels = program.shape(x)[1]
    gamma = program.add_module("gamma", f"nn.ParameterList([0.5 + torch.rand({channels})])") + "[0]"
    return program.assign("scaled", program.random.choice((
        f"{x} * self.{gamma}.view(-1, 1, 1)",
        f"{x} * self.{gamma}[None, :, None, None] + 0.1 * self.{gamma}.view(-1, 1, 1)",
        f"({x}.permute(0, 2, 3, 1) * self.{gamma}).permute(0, 3, 1, 2)",
        f"({x}.flatten(2) * self.{gamma}[:, None]).view_as({x})",
    )))  # fmt: skip
