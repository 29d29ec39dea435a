"""Seeded mutations of files: of their bytes, and of the values of JSON files."""

import copy
import json
import random
from typing import Any

_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 10**9, 1e308, float("nan"), "", "../..", "[red]\x1b[31m\n", [], [[]], {},
    {"a": None}, "é" * 300,
)  # fmt: skip


def mutate_bytes(content: bytes, seed: int) -> bytes:
    """Cut, flip, insert, remove, repeat or exchange some bytes of a file."""
    draw = random.Random(seed)
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 5))):
        start = draw.randrange(len(data) + 1)
        stop = min(len(data), start + draw.choice((1, 2, 4, 16, 64)))
        kind = draw.choice(("cut", "flip", "insert", "remove", "repeat", "zeros", "ones"))
        if kind == "cut":
            del data[start:]
        elif kind == "flip" and start < len(data):
            data[start] ^= 1 << draw.randrange(8)
        elif kind == "insert":
            data[start:start] = draw.randbytes(draw.choice((1, 4, 100)))
        elif kind == "remove":
            del data[start:stop]
        elif kind == "repeat":
            data[start:start] = data[start:stop]
        elif kind in ("zeros", "ones"):
            data[start:stop] = bytes([0 if kind == "zeros" else 255]) * (stop - start)
    return bytes(data)


def mutate_json(text: str, seed: int) -> str:
    """Replace, remove, rename or wrap values of a JSON file at random places."""
    draw = random.Random(seed)
    content = json.loads(text)
    for _ in range(draw.choice((1, 1, 2, 4))):
        places = list(_places(content))
        if not places:
            break
        parent, key = draw.choice(places)
        kind = draw.choice(("replace", "replace", "remove", "rename", "wrap", "other"))
        if kind == "replace":
            parent[key] = copy.deepcopy(draw.choice(_VALUES))
        elif kind == "remove":
            del parent[key]
        elif kind == "rename" and isinstance(parent, dict):
            parent[f"{key}x"] = parent.pop(key)
        elif kind == "wrap":
            parent[key] = [parent[key]]
        elif kind == "other":
            other, other_key = draw.choice(places)
            parent[key] = copy.deepcopy(other[other_key])
    return json.dumps(content)


def _places(content: Any) -> list[tuple[Any, Any]]:
    """Every list or dictionary inside a value, with each of its keys."""
    if isinstance(content, dict):
        items = list(content.items())
    elif isinstance(content, list):
        items = list(enumerate(content))
    else:
        return []
    inside = [place for _, value in items for place in _places(value)]
    return [(content, key) for key, _ in items] + inside
