"""What an explorer tells about two models: their classes by name, and their answers."""

from convlens.analyses.comparison.answers import AnswerChanges
from convlens.analyses.comparison.answers import compare_answers as compare_models
from convlens.analyses.comparison.class_pairing import ClassPairing, pair_classes
from convlens.errors import ConvlensError
from convlens.explorer.photo_store import StoredPhoto
from convlens.explorer.reproduction import Reproduction
from convlens.explorer.session import MOST_SEARCHED, Session
from convlens.passes.options import PassOptions


async def find_class_pairing(session: Session) -> ClassPairing:
    """Which class of the model that the explorer was started for each class of this one is.

    Raises:
        ConvlensError: they have no class in common.
    """
    first = session.first or session
    counts = [(await each.network()).num_classes for each in (first, session)]
    return await session.compute(
        ("classes",), lambda _: pair_classes(first.model, session.model, *counts)
    )


async def find_right_classes(session: Session, photo: StoredPhoto) -> tuple[int, ...] | None:
    """Indices of the right classes of a photo by this model; None where they are not known."""
    if session.first is None or photo.classes is None:
        return photo.classes
    try:
        to_first = (await find_class_pairing(session)).to_first
    except ConvlensError:
        return None
    classes = tuple(index for index, first in enumerate(to_first) if first in photo.classes)
    return classes or None


async def compare_answers(session: Session, other: Session) -> tuple[AnswerChanges, Reproduction]:
    """The answers of this and another model for the photos that are files.

    Args:
        session: the session of the model that the explorer was started for.
        other: the session of the other model.

    Raises:
        ConvlensError: no photo is a file, or the models have no class in common.
    """
    photos = session.photos.files(MOST_SEARCHED)
    if not photos:
        raise ConvlensError("no photo is a file; start convlens explore with some PHOTOS")
    paths, labels = [photo.file_name for photo in photos], [photo.classes for photo in photos]
    known = labels if any(labels) else None
    changes = await session.compute(
        ("answers", other.name, other.state(), tuple(photo.key for photo in photos)),
        lambda job: compare_models(
            session.model, other.model, paths, labels=known,
            pass_options=PassOptions(progress=lambda *_: job.check()),
        ),
    )  # fmt: skip
    argument = f", labels={known}" if known is not None else ""
    lines = [
        "import convlens", session.reproduction.load_line("first"),
        other.reproduction.load_line("second"),
        f"result = convlens.compare_answers(first, second, {paths}{argument})",
    ]  # fmt: skip
    return changes, Reproduction(None, "\n".join(lines))
