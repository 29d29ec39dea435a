"""The class page: its maximized image, the photos by its probability, and its channels."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from convlens.errors import ConvlensError
from convlens.explorer.comparison import find_right_classes
from convlens.explorer.pages.events import stream_maximized
from convlens.explorer.photo_store import StoredPhoto
from convlens.explorer.rendering import FAST, attempt, render, session_of, to_picture
from convlens.explorer.session import Session
from convlens.html.pictures import Picture, PictureBudget
from convlens.models.labels import read_class_index, write_class

_PHOTOS = 24  # whose predictions the page compares
_SHOWN = 12  # of these
_SIDE = 128  # CSS pixels of a photo
_CHANNELS = 8  # that contribute most
_BYTES = 4_000_000


@dataclass(frozen=True)
class PhotoOfClass:
    """A photo, with what the network answers.

    Attributes:
        photo: the photo.
        picture: the photo as the network sees it.
        probability: probability of the class of the page.
        answer: the first prediction.
        answered: whether the class is the first prediction.
        labeled: whether the class is a right answer; None where that is not known.
    """

    photo: StoredPhoto
    picture: Picture | None
    probability: float
    answer: str
    answered: bool
    labeled: bool | None


async def class_page(request: Request) -> Response:
    """What the photos and the channels tell about a class."""
    session = session_of(request)
    network = await session.network()
    if not network.num_classes:
        raise ConvlensError(f"{session.model.name} returns no class scores")
    index = read_class_index(
        session.model.labels, request.path_params["index"], network.num_classes
    )
    budget = PictureBudget(_BYTES, compression=FAST)
    photos, reason = [], ""
    for photo in session.photos.first(_PHOTOS):
        shown, failure = await attempt(_compare(session, photo, index, budget))
        reason = reason or failure
        photos += [shown] if shown is not None else []
    photos.sort(key=lambda shown: -shown.probability)
    explained, no_channels = None, "no photo shows what the class looks at"
    if photos:
        explained, no_channels = await attempt(session.gradcam(photos[0].photo, index, None, "pre"))
    cam, reproduction = explained if explained is not None else (None, None)
    return render(
        request, "pages/class.html.jinja", network=network, index=index,
        name=session.class_name(index), photos=photos[:_SHOWN], compared=len(photos),
        reason=reason, no_channels=no_channels, cam=cam,
        reproduction=reproduction,
        overlay=budget.thumbnail(cam.overlays()[0, 0], 2 * _SIDE) if cam is not None else None,
        shares=cam.channel_shares(0, 0, _CHANNELS) if cam is not None else (),
        confused=_list_confused(photos),
    )  # fmt: skip


async def class_image(request: Request) -> Response:
    """The maximized image of a class, as events."""
    session = session_of(request)
    network = await session.network()
    index = read_class_index(
        session.model.labels, request.path_params["index"], network.num_classes
    )
    return stream_maximized(request, write_class(session.model.labels, index, network.num_classes))


async def _compare(
    session: Session, photo: StoredPhoto, index: int, budget: PictureBudget
) -> PhotoOfClass:
    predictions = await session.predictions(photo)
    image, right = await session.image(photo), await find_right_classes(session, photo)
    pixels = to_picture(session, image)
    return PhotoOfClass(
        photo=photo,
        picture=budget.thumbnail(pixels, _SIDE),
        probability=float(predictions.probabilities[0, index]),
        answer=predictions.names[0][0],
        answered=int(predictions.classes[0, 0]) == index,
        labeled=index in right if right else None,
    )


def _list_confused(photos: list[PhotoOfClass]) -> list[PhotoOfClass]:
    """Photos of the class with another prediction, and photos of others predicted as this class."""
    return [
        shown for shown in photos if shown.labeled is not None and shown.labeled != shown.answered
    ]
