"""Non-linearities: as modules, as functions, written in one or several lines, and in place."""

from fuzz.grammar.composed import compose
from fuzz.program import Program

MODULES = (
    "nn.ReLU()", "nn.ReLU6()", "nn.LeakyReLU(0.1)", "nn.SiLU()", "nn.GELU()", "nn.Hardswish()",
    "nn.Mish()", "nn.ELU()", "nn.Sigmoid()", "nn.Tanh()", "nn.Softplus()", "nn.PReLU()",
    "nn.SELU()", "nn.CELU()", "nn.Hardsigmoid()", "nn.Hardtanh()", "nn.LogSigmoid()",
    "nn.GELU(approximate='tanh')",
)  # fmt: skip
FUNCTIONS = (
    "torch.relu({x})", "F.relu({x})", "F.silu({x})", "F.gelu({x})", "F.leaky_relu({x}, 0.2)",
    "F.hardswish({x})", "torch.tanh({x})", "{x}.sigmoid()", "{x}.clamp(min=0)",
    "torch.clamp({x}, 0, 6)", "F.elu({x})", "F.mish({x})", "F.softplus({x})",
)  # fmt: skip
WRITTEN = (
    "{x} * torch.sigmoid({x})",
    "{x} * F.hardtanh({x} + 3, 0, 6) / 6",
    "{x} * F.relu6({x} + 3) / 6",
    "{x} * torch.tanh(F.softplus({x}))",
    "0.5 * {x} * (1 + torch.erf({x} / 1.4142135623730951))",
    "0.5 * {x} * (1 + torch.tanh(0.7978845608 * ({x} + 0.044715 * {x} ** 3)))",
    "{x} * torch.sigmoid(1.702 * {x})",
    "torch.where({x} > 0, {x}, 0.1 * {x})",
    "torch.maximum({x}, 0.1 * {x})",
    "F.relu({x}) ** 2",
    "F.relu({x}) - 0.25 * F.relu(-{x})",
    "({x} + {x}.abs()) / 2",
    "{x} * torch.sigmoid(self.{beta} * {x})",
    "{x} * ({x} > 0)",
    "{x}.masked_fill({x} < 0, 0.0)",
    "F.relu({x}.double()).to({x}.dtype)",
)
IN_PLACE = ("nn.ReLU(inplace=True)", "F.relu_({x})", "nn.SiLU(inplace=True)", "{x}.relu_()")


def activate(program: Program, x: str) -> str:
    """Add a random non-linearity."""
    draw = program.random
    kinds = ("module", "function", "written", "in place", "composed")
    form = draw.choices(kinds, (5, 3, 4, 1, 4))[0]
    if form == "composed" and len(program.shape(x)) == 4:
        return compose(program, x)
    if form in ("module", "composed"):
        return program.apply("act", draw.choice(MODULES), x)
    if form == "function":
        return program.assign("act", draw.choice(FUNCTIONS).format(x=x))
    if form == "in place":
        expression = draw.choice(IN_PLACE)
        if expression.startswith("nn."):
            return program.apply("act", expression, x)
        return program.assign("act", expression.format(x=x))
    expression = draw.choice(WRITTEN)
    beta = ""
    if "{beta}" in expression:
        beta = program.add_module("beta", "nn.ParameterList([torch.tensor(1.3)])") + "[0]"
    return program.assign("act", expression.format(x=x, beta=beta))
