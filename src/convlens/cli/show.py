"""Results on a terminal: tables for people, JSON for programs; progress on standard error."""

import json as json_format
import math
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from convlens.labels import class_name
from convlens.views.anatomy import Anatomy, Layer
from convlens.views.doctor import Diagnosis
from convlens.views.fgsm import Fgsm
from convlens.views.filters import Filters
from convlens.views.gradcam import GradCam

if TYPE_CHECKING:
    from convlens.page import Report
    from convlens.training import Training
    from convlens.views.cortex import Cortex
    from convlens.views.field import ReceptiveField
    from convlens.views.growth import Growth
    from convlens.views.likeness import Likeness
    from convlens.views.maps import FeatureMaps
    from convlens.views.patches import Patches
    from convlens.views.tuning import Tuning

NUMBERS = "numbers.json"  # in every folder that a command writes

# Wider than any table: what does not fit a terminal wraps there, and nothing is cut off.
_out = Console(highlight=False, width=10_000)
_err = Console(stderr=True, highlight=False, soft_wrap=True)

Tell = Callable[[str, int, int], None]


class _Rate(ProgressColumn):
    """How many a second, once that is known."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


@contextmanager
def progress(*, quiet: bool) -> Iterator[Tell]:
    """A bar with rate and time left on standard error: call it with (stage, done, total)."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(),
        TimeRemainingColumn(),
    )  # fmt: skip
    hidden = quiet or not _err.is_terminal  # a bar in a file would be noise
    with Progress(*columns, console=_err, transient=True, disable=hidden) as bars:
        tasks: dict[str, Any] = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield tell


@contextmanager
def waiting(what: str, *, quiet: bool) -> Iterator[None]:
    """A sign of life while something of unknown length runs."""
    if quiet:
        yield
        return
    with _err.status(what):
        yield


def report(made: "Report", out: Path, *, json: bool) -> None:
    """The findings and where the page lies."""
    if json:
        _print_json((out / "report.json").read_text(encoding="utf-8"))
        return
    for finding in made.findings:
        _out.print(f"{finding.mark:>7}  {finding.sentence}", markup=False)
    _out.print(f"\n{(out / 'index.html').resolve()}", markup=False)


def anatomy(found: Anatomy, layers: Sequence[Layer], *, json: bool) -> None:
    """A row a layer, then the sums."""
    if json:
        _print_json({**found.to_json(), "layers": [layer.to_json() for layer in layers]})
        return
    table = _table(
        "layer", "kind", ">output", ">kernel", ">stride", ">padding", ">parameters",
        ">multiply-adds", ">dense weights", ">sees", ">every", ">from", "side",
    )  # fmt: skip
    for one in layers:
        table.add_row(
            one.name,
            one.kind,
            "x".join(map(str, one.output[1:])),
            _pair(one.kernel),
            _pair(one.stride),
            _padding(one.padding),
            _count(one.parameters),
            _count(one.multiply_adds),
            f"{one.dense_weights:.2g}" if one.dense_weights else "",
            _sees(one),
            _pair(one.field_stride),
            _pair(one.field_offset),
            _side(one),
        )
    _out.print(table)
    channels, height, width = found.image
    _out.print(
        f"{found.model} on {channels}x{height}x{width}: {found.parameters:,} parameters"
        + (f" ({len(found.unused)} tensors not used in this run)" if found.unused else "")
        + f", {found.multiply_adds:,} multiply-adds an image; traced for {found.valid_for}",
        markup=False,
    )
    if found.final_post:
        _out.print(
            f"final convolutional place: {', '.join(found.final_pre)} (pre), {found.final_post} "
            f"(post): {found.final_reason}",
            markup=False,
        )
    _out.print(
        "sees, every, from: size, stride and offset of the receptive field in pixels of the image; "
        "+ sees the whole image besides, through a global operation",
        markup=False,
    )


def filters(found: Filters, out: Path, *, json: bool) -> None:
    """What the picture shows, and where it lies."""
    if json:
        _print_json(found.to_json())
        return
    count, channels, height, width = found.weights.shape
    _out.print(
        f"{found.layer}: {count} filters of {height}x{width}x{channels}, stride "
        f"{_pair(found.stride)}; one scale for all, ±{found.scale:.3g}",
        markup=False,
    )
    _out.print(str((out / "filters.png").resolve()), markup=False)


def growth(found: "Growth", out: Path, *, json: bool) -> None:
    """Which steps the picture shows, and where it lies."""
    if json:
        _print_json(found.to_json())
        return
    steps = ", ".join(f"{step:,}" for step in found.steps)
    _out.print(
        f"{found.layer}: {len(found.channels)} filters after {steps} steps, a column each; one "
        f"scale for all, ±{found.scale:.3g}",
        markup=False,
    )
    _out.print(str((out / "growth.png").resolve()), markup=False)


def likeness(found: "Likeness", out: Path, *, json: bool) -> None:
    """A row a filter, then the verdicts, and where the picture lies."""
    if json:
        _print_json(found.to_json())
        return
    if len(found.fitted):
        table = _table(
            ">filter", "verdict", ">R²", ">p", ">orientation", ">cycles/pixel", ">σ along",
            ">σ across", ">centre x", ">centre y",
        )  # fmt: skip
        for number, verdict in enumerate(found.verdicts):
            numbers = (found.sigma_along, found.sigma_across, found.x0, found.y0)
            table.add_row(
                str(found.filters.channels[number]), verdict, f"{found.r2[number]:.2f}",
                f"{found.p[number]:.2g}", f"{found.orientation[number]:.0f}°",
                f"{found.frequency[number]:.3f}", *(f"{one[number]:.2f}" for one in numbers),
            )  # fmt: skip
        _out.print(table)
    _out.print(found.sentence(), markup=False)
    name = "fits.png" if len(found.fitted) else "filters.png"
    _out.print(str((out / name).resolve()), markup=False)


def saying(*, quiet: bool) -> Callable[[str], None]:
    """Sentences on standard error while something runs."""
    if quiet:
        return lambda sentence: None
    return lambda sentence: _err.print(sentence, markup=False)


def training(trained: "Training", out: Path, *, json: bool) -> None:
    """How good the network is, where it lies, and what to do with it."""
    if _follows():
        return
    if json:
        _print_json(trained.to_json())
        return
    _out.print(
        f"{trained.recipe['network']}, {trained.parameters:,} parameters: {trained.accuracy:.2%} "
        f"of {trained.validated:,} images right that it was not trained on ({trained.held_out})",
        markup=False,
    )
    if trained.best_accuracy > trained.accuracy:
        _out.print(
            f"best checkpoint, after step {trained.best_step:,}: {trained.best_accuracy:.2%}, "
            f"chosen on these same images",
            markup=False,
        )
    _out.print(f"convlens report PHOTOS --model {shlex.quote(str(out))}", markup=False)
    _out.print(str(out.resolve()), markup=False)


def patches(found: "Patches", out: Path, *, json: bool) -> None:
    """A row a layer, and where the pictures lie."""
    for reason in found.skipped:
        _err.print(f"left out: {reason}", markup=False)
    if json:
        _print_json(found.to_json())
        return
    selective = any(len(one.selectivity) for one in found.layers)
    table = _table(
        "layer", "looked at", ">channels", ">dead", ">maps", ">sees", ">fires on",
        *((">most selective", "for") if selective else ()), "proof",
    )  # fmt: skip
    for one in found.layers:
        share = float(one.images_fired.double().mean()) / max(1, found.seen)
        row = [one.layer, one.place, str(one.channels), str(len(one.dead)), _pair(one.maps)]
        row += [(_pair(one.field) or "varies") + ("+" if one.beyond else ""), f"{share:.0%}"]
        if selective:
            best = int(one.selectivity.nan_to_num(0).argmax())
            name = class_name(found.labels, int(one.preferred[best]))
            row += [f"{one.layer}:{best}  {one.selectivity[best]:.3f}", name]
        table.add_row(*row, one.proof.brief())
    _out.print(table)
    _out.print(
        f"{found.seen:,} photos; dead: fires at no position of any of them; sees: rows and columns "
        f"of the image, + the whole image besides; proof: crops of the receptive field, run again "
        f"alone, with the same activation",
        markup=False,
    )
    _out.print(str(out.resolve()), markup=False)


def field(found: "ReceptiveField", out: Path, *, json: bool) -> None:
    """The field in words, and where it is drawn."""
    if json:
        _print_json(found.to_json())
        return
    _out.print(found.sentence(), markup=False)
    _out.print(str((out / "field.png").resolve()), markup=False)


def tuning(found: "Tuning", out: Path, *, json: bool) -> None:
    """A row a channel, the counts, and where the picture lies."""
    simple, complex_, silent = found.counts()
    if json:
        _print_json(found.to_json())
        return
    table = _table(
        ">channel", ">orientation", ">± at half", ">cycles/pixel", ">octaves", ">selectivity",
        ">F1/F0", "kind",
    )  # fmt: skip
    columns = zip(
        found.preferred_orientation.tolist(), found.orientation_bandwidth.tolist(),
        found.preferred_frequency.tolist(), found.frequency_bandwidth.tolist(),
        found.selectivity.tolist(), found.modulation.tolist(), strict=True,
    )  # fmt: skip
    for channel, (angle, width, frequency, octaves, selective, ratio) in enumerate(columns):
        if found.silent[channel]:
            table.add_row(str(channel), *[""] * 6, "silent")
            continue
        table.add_row(
            str(channel), f"{angle:.0f}°", _known(width, ".0f", "°"), f"{frequency:.3f}",
            _known(octaves, ".1f"), f"{selective:.2f}", f"{ratio:.2f}",
            "simple" if ratio > 1 else "complex",
        )  # fmt: skip
    _out.print(table)
    _out.print(
        f"{found.layer} ({found.place}): {simple} simple, {complex_} complex, {silent} silent; "
        f"{found.responses[0].numel()} gratings of {found.size[0]} x {found.size[1]} pixels, the "
        f"unit in the middle sees {_pair(found.field)}",
        markup=False,
    )
    _out.print(str((out / "tuning.png").resolve()), markup=False)


def maps(found: "FeatureMaps", out: Path, *, json: bool) -> None:
    """What the pictures show, and where they lie."""
    if json:
        _print_json(found.to_json())
        return
    count, height, width = found.maps.shape
    shown = f", {len(found.shown)} of them drawn" if len(found.shown) < count else ""
    _out.print(
        f"{found.layer} ({found.place}): {count} maps of {height} x {width}{shown}; one scale for "
        f"all, to {found.scale:.3g}" + (f"; {found.pooling} beside it" if found.pooling else ""),
        markup=False,
    )
    _out.print(str(out.resolve()), markup=False)


def cortex(found: "Cortex", out: Path, *, json: bool) -> None:
    """How strongly the cells of each orientation answer, and where the pictures lie."""
    if json:
        _print_json(found.to_json())
        return
    table = _table(">orientation", ">mean answer of complex cells")
    for degrees, answers in zip(found.orientations, found.complex, strict=True):
        table.add_row(f"{degrees:g}°", f"{answers.mean():.4f}")
    _out.print(table)
    _out.print(
        "orientation of the bars, counter-clockwise from horizontal as one looks at the picture",
        markup=False,
    )
    _out.print(str(out.resolve()), markup=False)


class _PhotoTable:
    """Rows and numbers of a command that goes from photo to photo."""

    def __init__(self) -> None:
        self.results: dict[str, Any] = {}
        self.skipped: dict[str, str] = {}
        self.notes: list[str] = []
        self.table = _table()

    def write(self, folder: Path) -> None:
        """The numbers of all photos as one file."""
        data = {"photos": self.results, "skipped": self.skipped}
        (folder / NUMBERS).write_text(_dump(data), encoding="utf-8")

    def show(self, out: Path, *, json: bool) -> None:
        """The rows, what was left out, and where the pictures lie."""
        for reason in self.skipped.values():
            _err.print(f"left out: {reason}", markup=False)
        if json:
            _print_json({"photos": self.results, "skipped": self.skipped})
            return
        _out.print(self.table)
        for note in self.notes:
            _out.print(note, markup=False)
        _out.print(str(out.resolve()), markup=False)


class GradCamTable(_PhotoTable):
    """A row for each photo and class."""

    def __init__(self) -> None:
        super().__init__()
        self.table = _table("photo", "class", ">logit", ">probability", ">least", ">greatest")

    def add(self, name: str, result: GradCam) -> None:
        """One photo's maps."""
        self.results[name] = result.to_json()
        self.notes = [f"layer {', '.join(result.layer)}: {result.reason}"]
        for rank, label in enumerate(result.names[0]):
            one = result.maps[0, rank]
            self.table.add_row(
                name,
                label,
                f"{result.scores[0, rank]:.2f}",
                f"{result.probabilities[0, rank]:.3f}",
                f"{one.min():.3g}",
                f"{one.max():.3g}" if one.max() > 0 else "nothing speaks for it",
            )


class FgsmTable(_PhotoTable):
    """A row for each photo and epsilon."""

    def __init__(self, labels: Sequence[str] | None) -> None:
        super().__init__()
        self._labels = labels
        self.table = _table(
            "photo", "away from", ">epsilon", ">of 255", "answer", "random signs", ">changed by",
        )  # fmt: skip

    def add(self, name: str, result: Fgsm) -> None:
        """One photo's attacks."""
        self.results[name] = result.to_json()
        assert result.adversarial_logits is not None
        assert result.noise_logits is not None
        before = int(result.logits[0].argmax())
        for number, size in enumerate(result.epsilons):
            answer = int(result.adversarial_logits[number, 0].argmax())
            control = int(result.noise_logits[number, 0].argmax())
            self.table.add_row(
                name,
                result.names[0],
                f"{size:.4g}",
                f"{result.fractions[number] * 255:.3g}",
                class_name(self._labels, answer) + ("" if answer == before else "  (flipped)"),
                class_name(self._labels, control) + ("" if control == before else "  (flipped)"),
                f"{result.largest_changes[number, 0]:.4g}",
            )


def doctor(found: Diagnosis, *, json: bool) -> None:
    """The verdict, then the readings, best first after the configured one."""
    for reason in found.skipped:
        _err.print(f"left out: {reason}", markup=False)
    if json:
        _print_json(found.to_json())
        return
    table = _table("reading", ">right", ">score (nats)", ">gain", ">p")
    for one in found.readings:
        right = f"{one.accuracy:.1%}" if one.accuracy is not None else ""
        row = (one.name, right, f"{one.score:.3f}", f"{one.gain:+.3f}", f"{one.p_value:.2g}")
        table.add_row(*row)
    _out.print(table)
    _out.print(f"{found.verdict}: {found.sentence}", markup=False)


def models(known: Mapping[str, Sequence[str]], containing: str, *, json: bool) -> None:
    """Specs, one a line, so that they can be searched."""
    specs = {
        form: [name if form == "embedded" else f"{form}:{name}" for name in names]
        for form, names in known.items()
    }
    if json:
        _print_json(specs)
        return
    for names in specs.values():
        for name in names:
            _out.print(name, markup=False)
    count = sum(map(len, specs.values()))
    which = f" with {containing!r} in their names" if containing else ""
    _err.print(
        f"{count} networks{which}; also file:PATH@ARCHITECTURE and python:MODULE:FACTORY",
        markup=False,
    )


def _follows() -> bool:
    """Whether this process was started to help another one that runs the same command."""
    return any(os.environ.get(rank, "0") != "0" for rank in ("LOCAL_RANK", "NODE_RANK"))


def _table(*columns: str) -> Table:
    """A table without frames; a column whose name begins with > is aligned to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        justify = "right" if column.startswith(">") else "left"
        table.add_column(column.lstrip(">"), justify=justify, no_wrap=True)  # type: ignore[arg-type]
    return table


def _known(value: float, form: str, unit: str = "") -> str:
    return "" if math.isnan(value) else f"{value:{form}}{unit}"


def _pair(pair: tuple[int, int] | None) -> str:
    if pair is None:
        return ""
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"


def _padding(padding: tuple[int, int, int, int] | None) -> str:
    if padding is None:
        return ""
    top, bottom, left, right = padding
    if (top, left) == (bottom, right):
        return _pair((top, left))
    return f"{top},{bottom}x{left},{right}"


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _sees(layer: Layer) -> str:
    if not layer.followed:
        return "not followed"
    if layer.field_size is None:
        return "all" if layer.beyond else "varies"
    return _pair(layer.field_size) + ("+" if layer.beyond else "")


def _side(layer: Layer) -> str:
    sides = [side for side, is_it in (("pre", layer.pre), ("post", layer.post)) if is_it]
    final = f"final convolutional place ({layer.final})" if layer.final else ""
    return "; ".join(filter(None, [", ".join(sides), final]))


def _dump(data: Any) -> str:
    return json_format.dumps(data, indent=1, ensure_ascii=False) + "\n"


def _print_json(data: Any) -> None:
    text = data if isinstance(data, str) else _dump(data)
    # Not through the console, which would wrap lines.
    print(text, end="")
