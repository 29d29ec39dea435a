"""The campaign: random networks through all oracles, with what was wrong and what was refused."""

import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from convlens.errors import ConvlensError
from fuzz.case import Case, Mismatch
from fuzz.grammar.network import write_network
from fuzz.oracles import costs, fields, functions, gradcam, patches, predictions, untouched

CHECKS: dict[str, Callable[[Case], None]] = {
    "fields": fields.check,
    "costs": costs.check,
    "predictions": predictions.check,
    "gradcam": gradcam.check,
    "patches": patches.check,
    "functions": lambda case: functions.check(case, most=2),
}


@dataclass
class Report:
    """What the checks of one network found.

    Attributes:
        seed: of the network.
        source: its code.
        wrong: wrong values and tracebacks, by check.
        refused: messages of refusals, by what was asked for.
        marks: properties of the network, as in `Program`.
        notes: fields that are wider than needed and maps that are not known as such.
    """

    seed: int
    source: str
    wrong: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    marks: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{check}: {problem}" for check, problem in self.wrong.items()]
        return "\n".join([f"seed {self.seed}", *lines, "", self.source])


def check_network(seed: int) -> Report:
    """Write the network of a seed and check it."""
    program = write_network(seed)
    case = Case.of(program)
    report = Report(seed, program.source(), marks=frozenset(program.marks))
    before = untouched.snapshot(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, check in CHECKS.items():
            try:
                check(case)
            except Mismatch as error:
                report.wrong[name] = str(error)
            except ConvlensError as error:
                case.refuse(name, error)
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                report.wrong[name] = (
                    f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"
                )
        try:
            untouched.compare(case, before)
        except Mismatch as error:
            report.wrong["untouched"] = str(error)
        if "fields" not in report.wrong and "fields" not in case.refusals:
            report.notes = [*fields.too_wide(case), *fields.lost_maps(case)]
    report.refused = case.refusals
    return report


def set_up() -> None:
    """The settings of a process that checks networks: small networks gain nothing from threads."""
    torch.set_num_threads(1)
