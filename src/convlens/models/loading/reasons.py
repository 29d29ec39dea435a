"""Other libraries' errors as part of a sentence."""


def describe_error(error: BaseException) -> str:
    """The kind of an error and its first sentence, on one line of at most 200 characters."""
    said = " ".join(str(error).split()).partition(". ")[0]
    if len(said) > 200:
        said = said[:199] + "…"
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
