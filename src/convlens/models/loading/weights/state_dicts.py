"""The state dicts in the content of a weight file, with their keys as a network names them.

Training scripts save a state dict at the top of a file or under a name, with a prefix before all
keys (Lightning: `model.`) and with the names of wrappers anywhere in them (`module` of data
parallelism, `_orig_mod` of `torch.compile`).
"""

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

StateDict = OrderedDict[str, Any]

# Names of the attribute under which a wrapper of torch or Lightning holds the wrapped module.
_WRAPPERS = frozenset(
    {"module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
)
# Names under which the weights of one network are saved, the most common first.
_COMMON_NAMES = (
    "", "state_dict", "model_state_dict", "model_state", "model", "network", "net", "module",
    "weights", "params", "backbone", "encoder",
)  # fmt: skip
# Words in the names of weights that are averaged over the steps of a training.
_AVERAGED = re.compile(r"(^|_)(ema|swa|average|averaged)($|_)", re.IGNORECASE)
_LONGEST_PREFIX = 8  # parts between dots
_DEEPEST = 4  # levels of nesting that are searched
_MOST_MAPPINGS = 1000
_EXTRA_STATE = "_extra_state"  # torch's name for what a module saves that is no tensor


@dataclass(frozen=True)
class Candidate:
    """A state dict of a weight file, as it may fit a network.

    Attributes:
        entry: dotted name of the mapping in the file that holds it; empty for the whole file.
        prefix: what was removed from the beginning of its keys, with a dot at the end.
        state: tensors by key; as torch's own state dicts with the attribute `_metadata`.
        left_out: keys of the mapping that do not begin with the prefix.
        matching: number of the network's keys that it has.
    """

    entry: str
    prefix: str
    state: StateDict
    left_out: tuple[str, ...]
    matching: int

    @property
    def rank(self) -> tuple[int, int]:
        """Order of preference among candidates that fit; equal numbers are equally likely."""
        return _rank(self.entry.rpartition(".")[2]), _rank(self.prefix.rstrip("."))

    @property
    def name(self) -> str:
        """Entry and prefix in words."""
        words = [f"entry {self.entry!r}"] if self.entry else []
        words += [f"prefix {self.prefix!r}"] if self.prefix else []
        return ", ".join(words) or "the whole file"


def find_state_dicts(content: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """The mappings of names to tensors in the content of a file, each with its dotted name."""
    state_dicts: list[tuple[str, Mapping[str, Any]]] = []
    queue = [("", content, 0)]
    for name, value, depth in queue:  # grows while it is read: breadth first
        if not isinstance(value, Mapping) or len(queue) > _MOST_MAPPINGS:
            continue
        items = [(key, item) for key, item in value.items() if isinstance(key, str)]
        if any(isinstance(item, Tensor) for _, item in items):
            state_dicts.append((name, value))
        if depth < _DEEPEST:
            queue += [(f"{name}.{key}".lstrip("."), item, depth + 1) for key, item in items]
    return state_dicts


def candidates(entry: str, mapping: Mapping[str, Any], network: nn.Module) -> Iterator[Candidate]:
    """The ways in which a mapping may be a state dict of a network, the plainest first.

    Args:
        entry: dotted name of the mapping in its file.
        mapping: tensors by name.
        network: the network that the weights are for.
    """
    state: StateDict = OrderedDict(
        (key, value)
        for key, value in mapping.items()
        if isinstance(key, str)
        and (isinstance(value, Tensor) or key.rpartition(".")[2] == _EXTRA_STATE)
    )
    versions = _versions(mapping)
    expected = list(network.state_dict())
    yield _candidate(entry, "", state, versions, (), expected)
    keys = _by_plain_name(expected)
    modules = _by_plain_name(name for name, _ in network.named_modules())
    plain = [(_without_wrappers(key), key) for key in state]
    plain_versions = [(_without_wrappers(name), value) for name, value in versions.items()]
    for prefix, added in _prefixes([name for name, _ in plain], list(keys)):
        used = [(name, key) for name, key in plain if name.startswith(prefix)]
        left_out = [key for name, key in plain if not name.startswith(prefix)]
        rename = partial(_rename, prefix=prefix, added=added)
        renamed = OrderedDict((rename(name, known=keys), state[key]) for name, key in used)
        renamed_versions = {
            rename(name, known=modules): value
            for name, value in plain_versions
            if f"{name}.".startswith(prefix)
        }
        if len(renamed) == len(used):  # no two keys became one
            yield _candidate(entry, prefix, renamed, renamed_versions, left_out, expected)


def _rename(name: str, *, prefix: str, added: str, known: Mapping[str, str]) -> str:
    """A name in a file as the network has it.

    Args:
        name: name without wrappers of a tensor or a module.
        prefix: text to remove from its beginning.
        added: text to put there instead.
        known: the network's names by their forms without wrappers.
    """
    name = (added + f"{name}.".removeprefix(prefix)).rstrip(".")
    return known.get(name, name)


def _candidate(
    entry: str,
    prefix: str,
    state: StateDict,
    versions: Mapping[str, Any],
    left_out: Iterable[str],
    expected: Iterable[str],
) -> Candidate:
    state = OrderedDict(state)
    state._metadata = dict(versions)  # type: ignore[attr-defined] # as Module.state_dict() does
    matching = sum(key in state for key in expected)
    return Candidate(entry, prefix, state, tuple(left_out), matching)


def _versions(mapping: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Version of the format of each module's tensors, by the name of the module."""
    metadata = getattr(mapping, "_metadata", None)
    if not isinstance(metadata, Mapping):
        return {}
    return {
        name: {"version": values["version"]}
        for name, values in metadata.items()
        if isinstance(name, str)
        and isinstance(values, Mapping)
        and isinstance(values.get("version"), int)
    }


def _without_wrappers(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in _WRAPPERS)


def _by_plain_name(names: Iterable[str]) -> dict[str, str]:
    """The names by their forms without wrappers; names with one form in common are left out."""
    by_plain: dict[str, str] = {}
    ambiguous = set()
    for name in names:
        plain = _without_wrappers(name)
        if by_plain.setdefault(plain, name) != name:
            ambiguous.add(plain)
    return {plain: name for plain, name in by_plain.items() if plain not in ambiguous}


def _prefixes(keys: list[str], expected: list[str]) -> list[tuple[str, str]]:
    """Prefixes to remove from the keys of a file and to add to them, the most promising first."""
    whole = _common_prefix(expected)  # of a network inside another one, such as nn.Sequential
    known = {*expected, *(name.removeprefix(whole) for name in expected)}
    counts: dict[str, int] = {}
    for key in keys:
        parts = key.split(".")
        for start in range(1, min(len(parts), _LONGEST_PREFIX + 1)):
            if ".".join(parts[start:]) in known:
                prefix = ".".join(parts[:start]) + "."
                counts[prefix] = counts.get(prefix, 0) + 1
    removed = sorted(counts, key=lambda prefix: -counts[prefix])
    # A network that takes old names in its load hooks may have none of the keys of the file.
    removed = ["", *filter(None, dict.fromkeys([*removed, _common_prefix(keys)]))]
    return [(prefix, added) for added in dict.fromkeys(["", whole]) for prefix in removed]


def _common_prefix(keys: list[str]) -> str:
    """The longest dotted prefix that all keys have in common."""
    if not keys:
        return ""
    first, last = min(keys).split("."), max(keys).split(".")
    count = 0
    while count < min(len(first), len(last)) - 1 and first[count] == last[count]:
        count += 1
    return "".join(f"{part}." for part in first[:count])


def _rank(name: str) -> int:
    if name in _COMMON_NAMES:
        return _COMMON_NAMES.index(name)
    return len(_COMMON_NAMES) + 1 if _AVERAGED.search(name) else len(_COMMON_NAMES)
