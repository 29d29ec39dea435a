"""What an explorer finds out about a model on its photos while the start page is open."""

from collections.abc import Hashable

from convlens.analyses.preprocessing_check.preprocessing_check import check_preprocessing
from convlens.analyses.preprocessing_check.result import Diagnosis
from convlens.errors import ConvlensError
from convlens.explorer.comparison import find_right_classes
from convlens.explorer.photo_store import StoredPhoto
from convlens.explorer.reproduction import Reproduction
from convlens.explorer.session import Session

_PHOTOS = 8  # each of which runs once for each preprocessing


def diagnosis_key(session: Session) -> Hashable:
    """What tells the computation of `diagnose_preprocessing` apart, for its progress."""
    return (session.name, _name(_choose(session)), session.state())


async def diagnose_preprocessing(session: Session) -> tuple[Diagnosis, Reproduction]:
    """Whether the model would do better on the first photos with another preprocessing.

    Raises:
        ConvlensError: no photo is a file, or the check does not apply to the model.
    """
    photos = _choose(session)
    if not photos:
        raise ConvlensError("no photo is a file; start convlens explore with some PHOTOS")
    paths = [photo.file_name for photo in photos]
    right = [await find_right_classes(session, photo) for photo in photos]
    labels = right if any(right) else None
    diagnosis = await session.compute(
        _name(photos),
        lambda job: check_preprocessing(session.model, paths, labels=labels, progress=job.report),
    )
    words = [] if labels is not None else ["doctor", *paths]
    argument = f", labels={labels}" if labels is not None else ""
    return diagnosis, session.reproduction(
        words, f"convlens.check_preprocessing(model, {paths}{argument})"
    )


def _choose(session: Session) -> list[StoredPhoto]:
    return session.photos.files(_PHOTOS)


def _name(photos: list[StoredPhoto]) -> Hashable:
    return ("preprocessing", tuple(photo.key for photo in photos))
