"""Warnings where a trace does not tell which maps a layer's are, so that no picture is silent."""

from collections.abc import Mapping

from convlens.results.network_result import warn
from convlens.tracing.left_out import explain_lost_map
from convlens.tracing.sides import Sides
from convlens.tracing.trace import Trace
from convlens.tracing.unknown_operations import describe_unknown
from convlens.wording import enumerated

_MOST_NAMES = 3


def warn_of_unknown_nonlinearities(trace: Trace, sides: Mapping[str, Sides]) -> None:
    """Warn of layers that are read before what may be their non-linearity.

    What is shown as its output is then its input.

    Args:
        trace: of the network.
        sides: the sides of layers, by their names.
    """
    layers: dict[str, list[str]] = {}
    for layer, of_layer in sides.items():
        if of_layer.unfollowed:
            layers.setdefault(of_layer.unfollowed, []).append(layer)
    for unfollowed, names in layers.items():
        verb = "is" if len(names) == 1 else "are"
        warn(
            f"{trace.model_name}: {enumerated(names, _MOST_NAMES)} {verb} read before what may be "
            f"the non-linearity: {unfollowed}"
        )


def warn_of_layers_without_maps(trace: Trace, final: int) -> None:
    """Warn of convolutions after the final convolutional layer whose maps are lost.

    Args:
        trace: of the network.
        final: index of the node that was selected as the final convolutional layer.
    """
    for layers in describe_layers_without_maps(trace, final):
        warn(f"{trace.model_name}: Grad-CAM is at {trace.name(final)}, because {layers}")


def describe_layers_without_maps(trace: Trace, final: int) -> list[str]:
    """The convolutions after the final convolutional layer whose maps are lost, in words.

    Args:
        trace: of the network.
        final: index of the node of the final convolutional layer.

    Returns:
        The end of a sentence for each reason.
    """
    descriptions = []
    layers: dict[str, list[str]] = {}
    for convolution in trace.convolutions:
        if convolution.node > final and trace.spatial_dims(convolution.node) is None:
            lost = explain_lost_map(trace, convolution.node)
            if lost:
                layers.setdefault(lost, []).append(convolution.layer)
    for lost, names in layers.items():
        run, have = ("runs", "has") if len(names) == 1 else ("run", "have")
        descriptions.append(
            f"{enumerated(names, _MOST_NAMES)}, which {run} later, {have} no maps: {lost}"
        )
    return descriptions


def warn_of_unknown_producer(trace: Trace, final: int) -> None:
    """Warn if the final convolutional layer is what an unknown operation returns.

    It may be the output of a non-linearity whose input is not known.

    Args:
        trace: of the network.
        final: index of the node that was selected as the final convolutional layer.
    """
    producer = trace.structure.producers.get(final)
    unknown = "" if producer is None else describe_unknown(producer, trace.on_image)
    if unknown:
        warn(
            f"{trace.model_name}: the maps of {trace.name(final)} are the results of {unknown}; if "
            f"it is a non-linearity, its input is not known"
        )
