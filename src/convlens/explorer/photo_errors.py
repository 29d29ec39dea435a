"""The analysis of the errors on the labeled photos of an explorer."""

from collections.abc import Hashable
from dataclasses import dataclass

from convlens.analyses.error_analysis.dataset_pass import error_analysis
from convlens.analyses.error_analysis.result import ErrorAnalysis
from convlens.errors import ConvlensError
from convlens.explorer.addresses import LABELS
from convlens.explorer.comparison import find_right_classes
from convlens.explorer.photo_store import StoredPhoto
from convlens.explorer.session import Session
from convlens.passes.options import PassOptions
from convlens.results.reproduction import Reproduction

MOST_ANALYZED = 1000  # labeled photos
_SHOWN = 12  # errors with a picture
_EXAMINED = 12  # errors drawn at random, over which causes are counted
_FEW, _FEW_BINS, _BINS = 200, 5, 15  # photos, and bins of the reliability diagram
# Forward passes, about: of an error, of a right prediction for comparison, and in all of the photos
# among which similar ones are searched.
_PASSES_OF_ERROR, _PASSES_OF_CONTROL, _SEARCHED = 40, 25, 200


@dataclass(frozen=True)
class LabeledPhotos:
    """The photos whose errors are analyzed.

    Attributes:
        photos: the photos, which are files.
        labels: for each the indices of the right classes by the model of the session.
        total: number of photos with a label, also of those beyond the first 1,000.
    """

    photos: tuple[StoredPhoto, ...]
    labels: tuple[tuple[int, ...], ...]
    total: int

    @property
    def paths(self) -> list[str]:
        """Their paths."""
        return [photo.file_name for photo in self.photos]


async def list_labeled_photos(session: Session) -> LabeledPhotos:
    """The first photos whose right classes are classes of the model.

    Raises:
        ConvlensError: there are none.
    """
    photos, labels = [], []
    for photo in session.photos.labeled(MOST_ANALYZED):
        right = await find_right_classes(session, photo)
        if right is not None:
            photos.append(photo)
            labels.append(right)
    if not photos:
        raise ConvlensError(
            "no photo has a label; start convlens explore with --labels FILE, or with photos in "
            "folders that are named after their classes"
        )
    return LabeledPhotos(tuple(photos), tuple(labels), session.photos.num_labeled)


async def analyze_errors(
    session: Session, labeled: LabeledPhotos, *, with_causes: bool
) -> tuple[ErrorAnalysis, Reproduction]:
    """What the network predicts wrongly among labeled photos.

    Args:
        session: the session.
        labeled: the photos.
        with_causes: examine errors one by one, which takes `count_passes` forward passes.

    Raises:
        ConvlensError: the network does not predict one class for each photo.
    """
    examine = _EXAMINED if with_causes else 0
    bins = _FEW_BINS if len(labeled.photos) < _FEW else _BINS
    paths, labels = labeled.paths, list(labeled.labels)
    result = await session.compute(
        _name(labeled, with_causes=with_causes),
        lambda job: error_analysis(
            session.model, paths, labels, bins=bins, show=_SHOWN, examine=examine,
            seed=session.seed,
            pass_options=PassOptions(progress=lambda _, done, total: job.report(done, total)),
        ),
    )  # fmt: skip
    words = [
        "errors", *paths, "--labels", LABELS, "--bins", str(bins), "--show", str(_SHOWN),
        "--examine", str(examine),
    ]  # fmt: skip
    arguments = f"bins={bins}, show={_SHOWN}, examine={examine}{session.seed_argument}"
    return result, session.reproducer.reproduction(
        words, f"convlens.error_analysis(model, {paths}, {labels}, {arguments})"
    )


def analysis_key(session: Session, labeled: LabeledPhotos, *, with_causes: bool) -> Hashable:
    """The key of the computation of `analyze_errors` in the worker, which has its progress."""
    return session.job_key(_name(labeled, with_causes=with_causes))


def count_passes(result: ErrorAnalysis) -> int:
    """Forward passes that it takes to examine errors, about.

    Args:
        result: the analysis without causes.
    """
    errors, right = result.errors, result.accuracy.count
    return (
        _PASSES_OF_ERROR * min(errors, _SHOWN + _EXAMINED)
        + _PASSES_OF_CONTROL * min(right, errors, _EXAMINED)
        + min(result.images, _SEARCHED)
    )


def _name(labeled: LabeledPhotos, *, with_causes: bool) -> Hashable:
    keys = tuple(photo.key for photo in labeled.photos)
    return ("errors", keys, labeled.labels, with_causes)
