"""Files of photos as large as those of ImageNet, for the benchmarks that read files."""

from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from convlens.models.loading.demo_photos import demo_photos

SIZE = (500, 375)  # width and height


def write_photos(paths: Iterable[Path]) -> None:
    """Write JPEG files: the demonstration photos in turn, each resized to SIZE.

    Args:
        paths: the files; missing folders are made.
    """
    demo = [Image.open(photo.path).convert("RGB").resize(SIZE) for photo in demo_photos()]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        demo[number % len(demo)].save(path, quality=90)
