"""`write_network`: a random network from a seed."""

import random

from fuzz.grammar import layouts, maps, mixing
from fuzz.grammar.heads import answer_map, write_head
from fuzz.program import Program

_RULES = (*maps.RULES, *layouts.RULES, *mixing.RULES)
_LARGEST_MAP = 1000  # positions
_SMALLEST_SIDE = 3


def write_network(seed: int) -> Program:
    """Write a random network: an entry, two to five rules of the grammar, and a head."""
    draw = random.Random(seed)
    image = (
        draw.choice((3, 3, 3, 1)),
        draw.choice((12, 16, 19, 20)),
        draw.choice((12, 16, 17, 22)),
    )
    program = Program(seed, image)
    x = _entry(program)
    x = maps.convolution_block(program, x)
    rules, weights = zip(*_RULES, strict=True)
    for _ in range(draw.choice((1, 2, 3, 4, 5))):
        x = _apply_some_rule(program, x, draw.choices(rules, weights, k=10))
    if draw.random() < 0.7:
        x = _apply_some_rule(program, x, [answer_map])
    write_head(program, x)
    return program


def _entry(program: Program) -> str:
    """What the network does to its images first."""
    kind = program.random.choices(
        ("nothing", "normalize", "copy and write", "write into the image", "byte scale"),
        (10, 1, 0.5, 0.7, 0.5),
    )[0]
    if kind == "normalize":
        return program.assign("x", "(image - 0.45) / 0.22")
    if kind == "copy and write":
        x = program.assign("x", "image.clone()")
        program.execute((), f"{x}.sub_(0.5).div_(0.25)")
        return program.assign("x", f"{x} * 1")
    if kind == "write into the image":
        return program.assign("x", "image.sub_(0.5).mul_(2)")
    if kind == "byte scale":
        return program.assign("x", "image.mul(255).sub(127).div(60)")
    return "image"


def _apply_some_rule(program: Program, x: str, rules: list) -> str:
    """The first rule that fits the map; without one, the map as it is."""
    for rule in rules:
        before = program.checkpoint()
        try:
            out = rule(program, x)
            shape = program.shape(out)
            if (
                len(shape) == 4
                and shape[0] == 1
                and min(shape[2:]) >= _SMALLEST_SIDE
                and shape[2] * shape[3] <= _LARGEST_MAP
                and shape[1] <= 48
            ):
                return out
        except (ValueError, RuntimeError, IndexError):
            pass  # windows that are larger than the map, channels that do not divide
        program.restore(before)
    return x
