"""Checks of the classes that a command line names, as far as no torch is needed."""

from collections.abc import Iterable

from convlens.cli.arguments import ModelArguments
from convlens.models.labels import find_class_pair
from convlens.models.loading.labels_of_spec import labels_of_spec


def check_class_words(arguments: ModelArguments, words: Iterable[str | None]) -> None:
    """Refuse classes that the model does not have, where this is known before it is loaded.

    Args:
        arguments: the options that name the model.
        words: names or indices of classes, or differences of two; None for an option that is not
            given.

    Raises:
        ConvlensError: a class that the model does not have.
    """
    names = labels_of_spec(arguments.model, arguments.class_names)
    if names:  # random weights have no names, but any number of classes
        for word in filter(None, words):
            find_class_pair(names, word, len(names))
