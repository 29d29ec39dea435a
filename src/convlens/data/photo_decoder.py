"""Decoder: photos to the 8-bit pixels that a model's images are made of."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convlens.data.photos import EncodedPhoto, Photo, read_photo
from convlens.data.preprocessing import Preprocessing

PhotoLike = str | Path | EncodedPhoto | Image.Image | Photo


@dataclass(frozen=True)
class PhotoDecoder:
    """Decodes photos and applies a preprocessing; small, so that any process can be sent one.

    Attributes:
        preprocessing: resize and crop.
        mode: Pillow's name of what is read: L (gray) or RGB.
    """

    preprocessing: Preprocessing
    mode: str

    def __call__(self, photo: PhotoLike) -> NDArray[np.uint8]:
        """Pixels `(H, W, C)` of a photo.

        Raises:
            PhotoError: it cannot be read.
        """
        picture = self.preprocessing.apply(read_photo(photo).picture.convert(self.mode))
        return np.array(picture).reshape(picture.height, picture.width, -1)
