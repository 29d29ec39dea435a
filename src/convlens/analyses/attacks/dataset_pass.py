"""`robustness`: the accuracy-epsilon curve over photos, in one pass and bounded memory."""

from collections.abc import Sequence

from convlens.analyses.attacks.criterion import LOSSES
from convlens.analyses.attacks.fgsm import Epsilon, epsilon_sizes
from convlens.analyses.attacks.pgd import STEPS
from convlens.analyses.attacks.robustness import Attacks, Robustness, noted, told
from convlens.capture import recording
from convlens.data.datasets.photo_dataset import check_photo_list
from convlens.errors import ConvlensError
from convlens.models.model import Model, check_model
from convlens.models.output_head import lowest_prediction
from convlens.passes.fingerprints import fingerprint
from convlens.passes.options import PassOptions
from convlens.passes.run import run_pass
from convlens.passes.source import PhotosOrImages, open_source, read_first_images
from convlens.tracing.trace import trace

_LOOKED = 4  # images that suffice to see what is wrong with a network


@recording()
def robustness(
    model: Model,
    photos: PhotosOrImages,
    epsilons: Epsilon | Sequence[Epsilon] = ("1/255", "2/255", "4/255", "8/255"),
    *,
    labels: Sequence[Sequence[int] | None] | None = None,
    loss: str = "cross-entropy",
    steps: int = STEPS,
    seed: int = 0,
    strict: bool = False,
    pass_options: PassOptions = PassOptions(),
) -> Robustness:
    """How many answers stay right as epsilon grows: FGSM, random signs and PGD, with intervals.

    For each image one gradient and two forward passes an epsilon; PGD takes up to `steps` passes
    forward and back for each image and epsilon, and none for an answer that is broken already.

    Args:
        model: left untouched.
        photos: files, a data set of them, or images `(N, C, H, W)` inside the bounds.
        epsilons: as for `fgsm`.
        labels: for each photo the classes that are right (the first is attacked, any counts as
            right; of a network with one output 0, or -1 for "not class 0"), or None: that photo is
            left out. Without labels the network's own answers
            count, and the curves begin at 100 %.
        loss: E, "cross-entropy" or "margin".
        steps: of PGD; 0 leaves it out.
        seed: of random signs and of PGD's starts, drawn for each image by its number.
        strict: raise for a photo that cannot be read instead of leaving it out.
        pass_options: how the pass runs; see `PassOptions`.

    Raises:
        ConvlensError: an epsilon, a loss, steps or labels that cannot be used, no photo that can
            be read, a folder of another pass.
    """
    check_model(model)
    check_photo_list(photos)
    sizes = tuple(sorted({size for size in epsilon_sizes(epsilons, model.bounds) if size > 0}))
    if not sizes:
        raise ConvlensError("no epsilon above 0; give at least one, such as 8/255")
    if loss not in LOSSES:
        raise ConvlensError(f"loss {loss!r}; it is {' or '.join(LOSSES)}")
    if steps < 0:
        raise ConvlensError(f"{steps} steps; give at least 1, or 0 to leave PGD out")
    source = open_source(model, photos, strict=strict)
    if labels is not None:
        _check(model, labels, len(source))
    work = Attacks(model, sizes, labels, loss, steps, seed)
    done = run_pass(
        model, work, source, stage="curve", pass_options=pass_options,
        settings={
            "what": "robustness", "epsilons": list(sizes), "loss": loss, "steps": steps,
            "seed": seed, "labels": fingerprint(labels),
        },
    )  # fmt: skip
    looked = read_first_images(source, _LOOKED).to(model.device)
    diagnostics = noted(model, trace(model, looked), looked, loss)
    return told(work, done.state, tuple(done.skipped.values()), diagnostics)


def _check(model: Model, labels: Sequence[Sequence[int] | None], count: int) -> None:
    if len(labels) != count:
        raise ConvlensError(f"{len(labels)} labels for {count} photos")
    found = trace(model)
    known = found.num_outputs
    least = lowest_prediction(known, found.output_head)
    if any(not least <= one < known for right in labels for one in right or ()):
        raise ConvlensError(f"a label outside {least} to {known - 1}")
    if not any(labels):
        raise ConvlensError("none of the photos has a label; give labels for some, or none at all")
