"""From the last map to the answer: pooling, classifier, output head, and the form of the output."""

from fuzz.grammar.activations import activate
from fuzz.grammar.maps import convolution_block
from fuzz.program import Program

# How the returned value follows from the logits. "opaque": it is no exact function of them.
FINAL = {
    "logits": ("{x}", "{x} * 1", "{x}.clone()", "{x} + 0"),
    "softmax": (
        "{x}.softmax(1)", "F.softmax({x}, dim=-1)", "{x}.softmax(1).clamp(1e-12, 1)",
        "{x}.exp() / {x}.exp().sum(1, keepdim=True)", "{x}.softmax(1) * 1.0",
        "{x}.unsqueeze(1).softmax(-1).squeeze(1)",
    ),
    "log softmax": (
        "F.log_softmax({x}, 1)", "torch.log({x}.softmax(1))",
        "{x} - {x}.logsumexp(1, keepdim=True)", "{x}.softmax(1).clamp(min=1e-12).log()",
    ),
    "sigmoid": (
        "{x}.sigmoid()", "1 / (1 + torch.exp(-{x}))", "{x}.sigmoid().clamp(1e-6, 1 - 1e-6)",
    ),
    "log sigmoid": ("F.logsigmoid({x})", "{x}.sigmoid().log()"),
    "percent": ("{x}.softmax(1) * 100", "{x}.softmax(1) / 0.01"),
    "negative log": ("-F.log_softmax({x}, 1)", "{x}.softmax(1).log() * -1"),
}  # fmt: skip


def reduce_map(program: Program, x: str) -> str:
    """The features of a map, `(N, F)`."""
    draw = program.random
    channels = program.shape(x)[1]
    forms = (
        "{x}.mean((2, 3))", "{x}.mean(dim=[-2, -1])", "{x}.mean(3).mean(2)", "{x}.amax((2, 3))",
        "F.adaptive_avg_pool2d({x}, 1).flatten(1)", "F.adaptive_max_pool2d({x}, 1)[:, :, 0, 0]",
        "F.avg_pool2d({x}, {x}.shape[2:]).view(n, -1)", "{x}.flatten(2).mean(2)",
        "{x}.flatten(1)", "{x}.reshape(n, -1)", "torch.flatten({x}, 1)", "{x}.sum((2, 3))",
        "F.adaptive_avg_pool2d({x}, 2).flatten(1)", "{x}.permute(0, 2, 3, 1).mean((1, 2))",
        "F.adaptive_avg_pool2d({x}, 1).squeeze()", "{x}.flatten(2).logsumexp(2)",
        "{x}.permute(0, 2, 3, 1).reshape(n, -1)", "torch.einsum('nchw->nc', {x})",
        "F.lp_pool2d(F.relu({x}) + 0.1, 2, {x}.shape[2:]).flatten(1)",
        "F.adaptive_avg_pool2d({x}, 1).squeeze(-1).squeeze(-1)",
    )  # fmt: skip
    kind = draw.choice(("function", "function", "modules", "attention", "modules"))
    if kind == "modules":
        pooled = program.apply(
            "gap",
            draw.choice(
                (
                    "nn.AdaptiveAvgPool2d(1)",
                    "nn.AdaptiveAvgPool2d((1, 1))",
                    "nn.AdaptiveMaxPool2d(1)",
                )
            ),
            x,
        )
        return program.apply("flatten", "nn.Flatten()", pooled)
    if kind == "attention":
        score = program.apply("score", f"nn.Conv2d({channels}, 1, 1)", x)
        weights = program.assign("weights", f"{score}.flatten(2).softmax(2)")
        return program.assign("features", f"({x}.flatten(2) * {weights}).sum(2)")
    form = draw.choice(forms)
    if ".squeeze()" in form:
        program.marks.add("squeezed batch")
    return program.assign("features", form.format(x=x))


def write_head(program: Program, x: str) -> None:
    """Add classifier, output head and return value."""
    draw = program.random
    classes = draw.choice((1, 2, 3, 5, 7))
    if draw.random() < 0.15:
        channels = program.shape(x)[1]
        scores = program.apply("scores", f"nn.Conv2d({channels}, {classes}, 1)", x)
        if draw.random() < 0.2:
            program.logits = scores
            program.returned = draw.choice((scores, f"{scores}.softmax(1)"))
            program.head = "segmentation"
            return
        logits = program.assign(
            "logits",
            draw.choice(
                (f"{scores}.mean((2, 3))", f"F.adaptive_avg_pool2d({scores}, 1).flatten(1)")
            ),
        )
    else:
        logits = _classify(program, reduce_map(program, x), classes)
    program.logits = logits
    kinds = (*FINAL, "ensemble")
    head = draw.choices(kinds, (8, 2, 2, 1.5, 0.5, 0.3, 0.3, 0.5))[0]
    if classes == 1 and "sigmoid" not in head:
        head = "logits"
    if "squeezed batch" in program.marks:
        head = "logits"
    if head == "ensemble":
        other = program.assign("other", f"{logits}.flip(1) * 0.7")
        out = program.assign("answer", f"({logits}.softmax(1) + {other}.softmax(1)) / 2")
    elif head == "logits" and draw.random() < 0.8:
        out = logits
    else:
        form = draw.choice(FINAL[head])
        out = program.assign("answer", form.format(x=logits))
    if classes == 1 and draw.random() < 0.4 and "squeezed batch" not in program.marks:
        out = program.assign("answer", draw.choice(("{x}.squeeze(1)", "{x}[:, 0]")).format(x=out))
    program.head = head
    form = draw.choices(("tensor", "dict", "tuple", "with features"), (8, 1, 1, 0.5))[0]
    if form == "with features":
        program.marks.add("tuple")
    program.returned = {
        "tensor": out,
        "dict": f"{{'logits': {out}, 'aux': {x}}}",
        "tuple": f"({out},)",
        "with features": f"({out}, {x})",
    }[form]


def _classify(program: Program, features: str, classes: int) -> str:
    """Fully connected layers from features `(N, F)` to logits."""
    draw = program.random
    length = program.shape(features)[-1]
    if draw.random() < 0.3:
        features = program.apply("fc", f"nn.Linear({length}, 10)", features)
        if draw.random() < 0.4 and "squeezed batch" not in program.marks:
            features = program.apply("norm", "nn.BatchNorm1d(10)", features)
        features = activate(program, features)
        features = program.apply("drop", "nn.Dropout(0.2)", features)
        length = 10
    return program.apply("classifier", f"nn.Linear({length}, {classes})", features)


def answer_map(program: Program, x: str) -> str:
    """A last convolution block before the head, so that most networks have a final layer."""
    return convolution_block(program, x, keep=True)
