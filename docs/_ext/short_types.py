"""Signatures of the reference: unions that have a name in convlens are written by this name."""

from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation

from convlens.data.photos import PhotoLike
from convlens.models.labels import PhotoLabels
from convlens.models.model import ImagesLike
from convlens.passes.source import PhotosOrImages

# The longest first, because they contain the others. docs/reference/index.rst explains them.
_ALIASES = {
    "PhotosOrImages": PhotosOrImages,
    "ImagesLike": ImagesLike,
    "PhotoLike": PhotoLike,
    "PhotoLabels": PhotoLabels,
}


def shorten(signature: str) -> str:
    """A signature with the names of unions in their place.

    Args:
        signature: the signature as autodoc writes it.

    Example:
        >>> shorten("(labels: ~collections.abc.Sequence[~collections.abc.Sequence[int] | None])")
        '(labels: PhotoLabels)'
    """
    for name, union in _ALIASES.items():
        for mode in ("smart", "fully-qualified-except-typing"):
            signature = signature.replace(stringify_annotation(union, mode), name)
    return signature


def _shorten(
    app: Sphinx, what: str, name: str, obj: object, options: object,
    signature: str | None, returned: str | None,
) -> tuple[str | None, str | None]:  # fmt: skip
    return shorten(signature) if signature else signature, returned


def setup(app: Sphinx) -> dict[str, bool]:
    """Shorten each signature."""
    app.connect("autodoc-process-signature", _shorten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
