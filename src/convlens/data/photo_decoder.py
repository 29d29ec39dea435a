"""PhotoDecoder: from a photo to the 8-bit pixels of a model's image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convlens.data.photos import PIXELS, PhotoLike, read_photo
from convlens.data.prepared_photos import PREPARED_PHOTOS
from convlens.data.preprocessing import Preprocessing


@dataclass(frozen=True)
class PhotoDecoder:
    """Decodes and preprocesses photos; small, so that it can be sent to any process.

    Attributes:
        preprocessing: resize and crop.
        mode: Pillow's name of the color mode: L (gray) or RGB.
    """

    preprocessing: Preprocessing
    mode: str

    def __call__(self, photo: PhotoLike) -> NDArray[np.uint8]:
        """Decode one photo.

        Returns:
            uint8 pixels `(H, W, C)` of the size of `preprocessing`, C = 1 for L and 3 for RGB.

        Raises:
            PhotoError: the photo cannot be read.
        """
        return PREPARED_PHOTOS.find_or_prepare(photo, self, self._decode)

    def _decode(self, photo: PhotoLike) -> NDArray[np.uint8]:
        with PIXELS.scope():
            decoded = read_photo(photo).picture
            if decoded.mode != self.mode:  # convert would copy it
                decoded = decoded.convert(self.mode)
            picture = self.preprocessing.apply(decoded)
            return np.array(picture).reshape(picture.height, picture.width, -1)
