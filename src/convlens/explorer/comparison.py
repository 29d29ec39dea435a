"""What an explorer shows of two models: classes by name, answers, and similarity of layers."""

from collections.abc import Hashable

from convlens.analyses.comparison.answers.answers import compare_answers as compare_models
from convlens.analyses.comparison.answers.class_pairing import ClassPairing, pair_classes
from convlens.analyses.comparison.answers.result import AnswerChanges
from convlens.analyses.comparison.similarity.cka import cka, plan_cka
from convlens.analyses.comparison.similarity.cka_result import Cka
from convlens.data.sampling import spread
from convlens.errors import ConvlensError
from convlens.explorer.network import SIDE
from convlens.explorer.photo_store import StoredPhoto
from convlens.explorer.session import MOST_SEARCHED, Session
from convlens.passes.options import PassOptions
from convlens.results.reproduction import Reproduction

_LAYERS = 12  # of the other model, to which one layer is compared


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
    photos = _list_photos(session)
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
    call = f"convlens.compare_answers(first, second, {paths}{argument})"
    return changes, _reproduce(session, other, call)


async def describe_similarity_cost(session: Session, other: Session, layer: str) -> str:
    """A sentence that states the cost of `compare_similarity`.

    Args:
        session: as `compare_similarity`.
        other: as `compare_similarity`.
        layer: as `compare_similarity`.

    Raises:
        ConvlensError: as `compare_similarity`.
    """
    paths = [photo.file_name for photo in _list_photos(session)]
    layers, others = await _choose_layers(other, layer)
    return await session.compute(
        ("cost", *_similarity_name(session, other, layer)),
        lambda _: plan_cka(
            session.model, other.model, paths, layers=layers, second_layers=others, side=SIDE
        )[1],
    )


async def compare_similarity(
    session: Session, other: Session, layer: str
) -> tuple[Cka, Reproduction]:
    """Linear CKA between a layer of this model, or its layers, and layers of another model.

    Args:
        session: the session of the model that the explorer was started for.
        other: the session of the other model.
        layer: name of the layer of the first model; empty for layers spread over it.

    Raises:
        ConvlensError: an unknown layer, or fewer than five photos that are files.
    """
    paths = [photo.file_name for photo in _list_photos(session)]
    layers, others = await _choose_layers(other, layer)
    result = await session.compute(
        _similarity_name(session, other, layer),
        lambda job: cka(
            session.model, other.model, paths, layers=layers, second_layers=others, side=SIDE,
            seed=session.seed, notify=lambda _: job.check(),
        ),
    )  # fmt: skip
    argument = f", layers={layers}, second_layers={others}" if layers is not None else ""
    call = f"convlens.cka(first, second, {paths}{argument}{session.seed_argument})"
    return result, _reproduce(session, other, call)


def similarity_key(session: Session, other: Session, layer: str) -> Hashable:
    """The key of the computation of `compare_similarity` in the worker, for its progress."""
    return session.job_key(_similarity_name(session, other, layer))


async def _choose_layers(other: Session, layer: str) -> tuple[list[str] | None, list[str] | None]:
    """The layers of both models that are compared.

    With a layer of the first model those of the other one are spread over it, and its layer of the
    same name is among them. Without one both are None, so that `cka` chooses.
    """
    if not layer:
        return None, None
    names = [row.name for row in (await other.network()).with_maps]
    chosen = {*spread(names, _LAYERS), layer}
    return [layer], [name for name in names if name in chosen]


def _similarity_name(session: Session, other: Session, layer: str) -> tuple[Hashable, ...]:
    photos = tuple(photo.key for photo in _list_photos(session))
    return ("cka", other.name, other.state(), layer, photos)


def _list_photos(session: Session) -> list[StoredPhoto]:
    """The first photos that are files."""
    photos: list[StoredPhoto] = session.photos.files(MOST_SEARCHED)
    if not photos:
        raise ConvlensError("no photo is a file; start convlens explore with some PHOTOS")
    return photos


def _reproduce(session: Session, other: Session, call: str) -> Reproduction:
    """The Python lines of a comparison, with `first` and `second` for the models."""
    lines = [
        "import convlens", session.reproducer.load_line("first"),
        other.reproducer.load_line("second"), f"result = {call}",
    ]  # fmt: skip
    return Reproduction(None, "\n".join(lines))
