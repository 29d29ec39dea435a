"""The photo that a page of a layer, a channel or a class uses."""

from convlens.explorer.photo_store import StoredPhoto
from convlens.explorer.rendering import find_photo
from convlens.explorer.session import Session


def choose_photo(session: Session, key: str) -> StoredPhoto | None:
    """The photo with a hash; without one the first photo, or None if there is none.

    Raises:
        HTTPException: there is no photo with that hash.
    """
    if key:
        return find_photo(session, key)
    return next(iter(session.photos), None)
