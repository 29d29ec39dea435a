"""Findings: the report in a few sentences, each with its number and a mark."""

from collections.abc import Iterator, Sequence
from statistics import median

from convlens.analyses.attacks.diagnostics import MASKED_GRADIENTS, ONE_OUTPUT
from convlens.analyses.gabor.noise_test import BLOB, GABOR
from convlens.analyses.gradcam.deletion_insertion import MARGIN
from convlens.analyses.gradcam.gradcam import GradCam
from convlens.analyses.gradcam.pointing_game import told
from convlens.page.schema import Finding, Mark, PhotoReport, Report

FIRST = 5  # on the first screen; the others are one click away
_NAMED = 5  # photos that a sentence still names


def findings(made: Report) -> tuple[Finding, ...]:
    """The findings of a report that holds everything else: what is broken, then the others."""
    found = [
        *_skipped(made),
        *_reading(made),
        *_preprocessing(made),
        *_robustness(made),
        *_shift(made),
        *_covering(made),
        *_flattered(made),
        *_looking(made),
        *_pointing(made),
        *_random(made),
        *_structure(made),
        *_silent_filters(made),
        *_gabor(made),
        *_channels(made),
    ]
    # One cause may fail several sections, in the same words: it is told once.
    once = list({one.sentence: one for one in reversed(found)}.values())[::-1]
    return tuple(sorted(once, key=lambda one: one.mark != "broken"))


def _skipped(made: Report) -> Iterator[Finding]:
    if made.skipped:
        names = _listed([one.path.rpartition("/")[2] for one in made.skipped])
        count = len(made.skipped)
        yield Finding(
            "look", f"Left out {count} of {made.given} photos, which cannot be read: {names}.",
            "left-out",
        )  # fmt: skip


def _reading(made: Report) -> Iterator[Finding]:
    if made.model.per_pixel:
        sides = " × ".join(map(str, made.model.output))
        yield Finding(
            "look",
            f"The network answers for each pixel ({sides}), not for the photo: Grad-CAM explains "
            f"a class by its mean logit over the pixels that answer it; what rests on one answer "
            f"for a photo (attacks, preprocessing, shifted answers) is left out.",
            "photos",
        )
        return
    if made.model.prediction_rule and not made.model.final_activation:
        sentence = made.model.prediction_rule
        yield Finding("look", f"{sentence[0].upper()}{sentence[1:]}.", "photos")
    if "predictions" in made.failures:
        yield Finding("broken", f"No answers: {made.failures['predictions']}.", "photos")
        return
    labeled = [one for one in made.photos if one.right is not None]
    if not labeled:
        yield _sureness(made.photos)
        return
    wrong = [one for one in labeled if not one.right]
    right, count = len(labeled) - len(wrong), len(labeled)
    named = _listed(
        [f"{one.name} ({one.names[0]}, not {' or '.join(one.expected_names)})" for one in wrong]
    )
    mark: Mark = "fine" if not wrong else "look" if 2 * right >= count else "broken"
    sentence = f"Reads {right} of {count} photos as expected"
    yield Finding(mark, f"{sentence}; wrong: {named}." if wrong else f"{sentence}.", "photos")


def _sureness(photos: Sequence[PhotoReport]) -> Finding:
    first = sorted((one.probabilities[0], one.name) for one in photos)
    middle = median(probability for probability, _ in first)
    (least, unsure), (most, sure) = first[0], first[-1]
    return Finding(
        "look",
        f"The answer has a probability of {_percent(middle)} in the median of {len(first)} "
        f"photos, from {_percent(least)} ({unsure}) to {_percent(most)} ({sure}); without labels "
        f"nobody knows which answers are right.",
        "photos",
    )


def _preprocessing(made: Report) -> Iterator[Finding]:
    if made.diagnosis is not None:
        marks: dict[str, Mark] = {"fine": "fine", "mistake": "broken", "cannot tell": "look"}
        sentence = made.diagnosis.summary
        mark = marks[made.diagnosis.verdict]
        yield Finding(mark, f"{sentence[0].upper()}{sentence[1:]}.", "doctor")
    elif made.failures.get("doctor") != made.failures.get("predictions"):
        yield Finding("broken", f"No check of preprocessing: {made.failures['doctor']}.", "doctor")


def _robustness(made: Report) -> Iterator[Finding]:
    turned = [one.flip for one in made.photos if one.flip is not None]
    if not turned:
        if made.failures.get("flip") != made.failures.get("predictions"):
            yield Finding("broken", f"No attack: {made.failures['flip']}.", "photos")
        return
    count, levels = len(turned), turned[0].levels
    flipped = [sum(int(one.predictions[at, 0] != one.original_predictions[0]) for one in turned)
               for at in range(len(levels))]  # fmt: skip
    noise = [sum(int(one.noise_flipped[at, 0]) for one in turned) for at in range(len(levels))]
    at = next((at for at, flips in enumerate(flipped) if 2 * flips >= count), len(levels) - 1)
    control = f"random signs of that size flip {noise[at]} of {count}"
    size = _levels(levels[at])
    if not any(flipped):
        sentence = f"None of {count} answers flips under FGSM of up to {size}; {control}."
        yield Finding("fine", sentence, "photos")
        return
    mark: Mark = "broken" if 2 * noise[at] >= count else "look"
    sentence = f"{flipped[at]} of {count} answers flip at {size} of FGSM; {control}."
    yield Finding(mark, sentence, "photos")


def _flattered(made: Report) -> Iterator[Finding]:
    if made.robustness is None:
        if made.failures.get("robustness") not in (None, *_known(made, "robustness")):
            yield Finding("look", f"No curve: {made.failures['robustness']}.", "robustness")
        return
    for one in made.robustness.diagnostics:
        if one.name == ONE_OUTPUT:
            continue  # told with the answers
        mark: Mark = "broken" if one.name == MASKED_GRADIENTS else "look"
        yield Finding(mark, f"{one.message[0].upper()}{one.message[1:]}.", "robustness")


def _shift(made: Report) -> Iterator[Finding]:
    if made.shift is None:
        if made.failures.get("shift") not in (None, *_known(made, "shift")):
            yield Finding("look", f"No shifts: {made.failures['shift']}.", "shift")
        return
    parts = []
    layers = made.shift.equivariance
    if layers is not None:
        parts.append(layers.summary())
    for one in made.shift.consistency[:1]:
        parts.append(
            f"{one.agree.count} of {one.agree.total} photos are answered alike in two views up to "
            f"{one.most} pixels apart ({one.protocol})"
        )
    sentence = "; ".join(parts)
    alike = all(2 * one.agree.count > one.agree.total for one in made.shift.consistency[:1])
    kept = layers is not None and layers.lost[0] is None
    mark: Mark = "broken" if not alike else "fine" if kept else "look"
    yield Finding(mark, f"{sentence[0].upper()}{sentence[1:]}.", "shift")


def _known(made: Report, section: str) -> list[str]:
    """What other sections failed for: one cause is told once."""
    return [reason for name, reason in made.failures.items() if name != section]


def _looking(made: Report) -> Iterator[Finding]:
    seen = [one for one in made.photos if one.gradcam is not None]
    if not seen:
        if made.failures.get("gradcam") != made.failures.get("predictions"):
            yield Finding("look", f"No Grad-CAM: {made.failures['gradcam']}.", "photos")
        return
    cam = seen[0].gradcam
    assert cam is not None
    speaks = [one for one in seen if one.peaks[0].high > 0]
    border = sum(one.peaks[0].at_border for one in speaks)
    rows, columns = cam.maps.shape[-2:]
    sentence = (
        f"Grad-CAM at {', '.join(cam.layer)} ({rows} × {columns} cells): in {len(speaks)} of "
        f"{len(seen)} photos some cell speaks for {_class(made, cam)}"
    )
    if min(rows, columns) > 2:
        sentence += f"; in {border or 'none'} the strongest cell lies at the border"
    doubtful = len(speaks) < len(seen) or (min(rows, columns) > 2 and 2 * border > len(seen))
    yield Finding("look" if doubtful else "fine", f"{sentence}.", "photos")


def _covering(made: Report) -> Iterator[Finding]:
    proofs = [one.evidence for one in made.photos if one.evidence is not None]
    if not proofs:
        return
    deletion = sum(int(one.deletion_beats[0]) for one in proofs)
    insertion = sum(int(one.insertion_beats[0]) for one in proofs)
    count = len(proofs)
    mark: Mark = "fine" if 2 * min(deletion, insertion) > count else "look"
    sentence = (
        f"Grad-CAM beats random and center on {deletion} of {count} photos when its cells are "
        f"covered first (deletion), on {insertion} when they are uncovered first (insertion), by "
        f"at least {MARGIN} of probability."
    )
    yield Finding(mark, sentence, "photos")


def _pointing(made: Report) -> Iterator[Finding]:
    seen = [one.pointing for one in made.photos if one.pointing is not None]
    if not seen:
        return
    sums = [sum(column) for column in zip(*(one.sums() for one in seen), strict=True)]
    count, hits, center = (int(one) for one in sums[:3])
    sentence = told(count, hits, center, *sums[3:])
    good = 2 * hits > count and hits >= center
    yield Finding("fine" if good else "look", f"{sentence[0].upper()}{sentence[1:]}.", "photos")


def _random(made: Report) -> Iterator[Finding]:
    found = made.randomization
    if found is None:
        return
    verb = "depends" if found.changes else "hardly depends"
    yield Finding(
        "fine" if found.changes else "look",
        f"Grad-CAM {verb} on what the network has learned: {found.brief()}.",
        "randomization",
    )


def _class(made: Report, cam: GradCam) -> str:
    highest = made.options["classes"] is None and made.model.output[0] > 1
    return "the highest class" if highest else cam.names[0][0]


def _structure(made: Report) -> Iterator[Finding]:
    found = made.anatomy
    if found is None:
        yield Finding("broken", f"No anatomy: {made.failures['anatomy']}.", "network")
        return
    parts = [f"{short(found.parameters)} parameters", f"{short(found.multiply_adds)} multiply-adds"]
    strided = next((one for one in found.layers if one.stride and max(one.stride) > 1), None)
    if strided is not None and strided.stride is not None:
        parts.append(f"first stride {max(strided.stride)} at {strided.name}")
    sentence = ", ".join(parts)
    whole = next(
        (
            one.name
            for one in found.layers
            if one.field_size
            and all(
                field >= side for field, side in zip(one.field_size, made.model.size, strict=True)
            )
        ),
        None,
    )
    if whole is not None:
        sentence += f"; from {whole} on, a unit sees as many pixels as the image has"
    if found.unused:
        sentence += (
            f"; {len(found.unused)} parameter tensors are never used: {_listed(found.unused)}"
        )
    yield Finding("look" if found.unused else "fine", f"{sentence}.", "network")


def _silent_filters(made: Report) -> Iterator[Finding]:
    if made.filters is None:
        if made.failures.get("filters") is not None:
            yield Finding("look", f"No filters: {made.failures['filters']}.", "filters")
        return
    if made.silent:
        count, layer = len(made.norms), made.filters.layer
        names = _listed([str(number) for number in made.silent])
        yield Finding(
            "look",
            f"{len(made.silent)} of {count} filters of {layer} are next to nothing "
            f"(norm below 1/10,000 of the greatest): {names}.",
            "filters",
        )


def _gabor(made: Report) -> Iterator[Finding]:
    found = made.gabor_fit
    if found is None or found.reason:
        return
    told = found.count(GABOR) + found.count(BLOB)
    total = len(found.verdicts)
    sentence = (
        f"{found.count(GABOR)} of {total} filters of {found.filters.layer} are Gabor-like and "
        f"{found.count(BLOB)} blobs or gradients, beside fits to {len(found.null_r2):,} filters of "
        f"noise as smooth"
    )
    if 2 * told > total:
        yield Finding("fine", f"{sentence}.", "filters")
        return
    told_apart = "none of them is" if not told else f"only {told} of them are"
    yield Finding("look", f"{sentence}: {told_apart} more regular than that noise.", "filters")


def _channels(made: Report) -> Iterator[Finding]:
    if made.patches is None:
        if made.failures.get("channels") not in (None, made.failures.get("predictions")):
            yield Finding("look", f"No channels: {made.failures['channels']}.", "channels")
        return
    layers, seen = made.patches.layers, made.patches.seen
    wrong = [one.layer for one in layers if one.crop_check.holds is False]
    if wrong:
        yield Finding(
            "broken",
            f"Patches of {_listed(wrong)}, run again alone, give another activation: do not trust "
            f"them.",
            "channels",
        )
    layers = tuple(one for one in layers if one.post)  # else being above 0 means nothing
    if not layers:
        return
    dead = [one for one in layers if one.dead]
    photos = f"{seen} photo{'s' if seen != 1 else ''}"
    if not dead:
        total = sum(one.channels for one in layers)
        yield Finding(
            "fine",
            f"Each of the {total} channels of {len(layers)} layer{'s' if len(layers) != 1 else ''} "
            f"is above 0 somewhere on {photos}.",
            "channels",
        )
        return
    parts = [f"{len(one.dead)} of {one.channels} channels of {one.layer}" for one in dead]
    yield Finding("look", f"{_listed(parts)} are never above 0 on {photos}.", "channels")


def short(number: float) -> str:
    """4652008 as 4.65 M."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:g}"


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")


def _levels(count: int) -> str:
    return f"{count} gray level{'s' if count != 1 else ''}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
