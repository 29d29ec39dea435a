"""Random weights in specs, and error messages of failed downloads."""

from collections.abc import Iterator
from contextlib import contextmanager

from convlens.errors import ConvlensError, describe_error

RANDOM = "random"  # stands after the @ of a spec in place of weights


@contextmanager
def explain_failed_download(form: str, name: str, weights: str) -> Iterator[None]:
    """Turn a failed download inside the block into a one-line ConvlensError."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise ConvlensError(
            f"the weights {weights} of {form}:{name} are not on this computer and cannot be "
            f"downloaded ({describe_error(error)}); without a network, "
            f"file:PATH@{form}:{name}@{weights} and {form}:{name}@random work"
        ) from error
