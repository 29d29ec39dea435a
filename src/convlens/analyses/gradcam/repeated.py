"""RepeatedGradCam: maps of one class after the other, from one forward pass."""

from dataclasses import replace

from convlens.analyses.gradcam.gradcam import explain_forward, run_forward
from convlens.analyses.gradcam.layers import select_node_group
from convlens.analyses.gradcam.options import ClassSelection, GradCamOptions
from convlens.analyses.gradcam.result import GradCam
from convlens.capture.gradients import enable_gradients
from convlens.models.model import ImagesLike, Model
from convlens.results.network_result import collect_warnings
from convlens.tracing.selection import Side
from convlens.tracing.tracer import trace_images


class RepeatedGradCam:
    """Computes Grad-CAM maps of one class after the other for the same images.

    The forward pass runs once, and its graph is kept as long as this object lives; each map then
    costs the backward pass from the logits to the layer. The weights of the network must not
    change in between.

    Args:
        model: the model. It is left untouched.
        images: float32 `(N, C, H, W)` inside the model's bounds, or photos as `Model.prepare`
            takes them.
        layer: name of the layer or node whose maps are weighted. Default: the final convolutional
            layer.
        side: side of the layer: "pre" (default), "post" or "output"; see `GradCamOptions`.

    Raises:
        ConvlensError: as `gradcam`, except for what concerns classes.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        ...     torch.nn.Flatten(), torch.nn.Linear(4, 2),
        ... )
        >>> model, image = convlens.wrap(network, size=8), torch.rand(1, 3, 8, 8)
        >>> explain = RepeatedGradCam(model, image)
        >>> [explain(target) == convlens.gradcam(model, image, classes=target) for target in (0, 1)]
        [True, True]
    """

    def __init__(
        self, model: Model, images: ImagesLike, *, layer: str | None = None, side: Side = "pre"
    ) -> None:
        self._model = model
        self._options = GradCamOptions(layer=layer, side=side)
        with collect_warnings() as self._warnings, enable_gradients():
            self._images, self._trace = trace_images(model, images)
            self._node_groups = [select_node_group(self._trace, self._options)]
            self._activations = run_forward(model, self._trace, self._images, self._node_groups)

    def __call__(self, classes: ClassSelection) -> GradCam:
        """The maps that `gradcam` returns for classes.

        Args:
            classes: the classes; see `GradCamOptions`.

        Raises:
            ConvlensError: as `gradcam`.
        """
        options = replace(self._options, classes=classes)
        with collect_warnings() as warnings, enable_gradients():
            (cam,) = explain_forward(
                self._model, self._trace, self._images, self._node_groups, self._activations,
                options,
            )  # fmt: skip
        all_warnings = tuple(dict.fromkeys((*self._warnings, *warnings)))
        return replace(cam, warnings=all_warnings) if all_warnings else cam
