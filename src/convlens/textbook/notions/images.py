"""Images as tensors of numbers."""

from convlens.analyses.image_tensor.image_tensor import image_tensor
from convlens.textbook.notion import Notion

IMAGES = (
    Notion(
        name="image_tensor",
        section="10.1.1",
        title="An image is a tensor of numbers",
        formula=r"$\tilde{x}_{c,y,x} = (x_{c,y,x} - \mu_c)\,/\,\sigma_c$",
        text=(
            "A color image is three matrices, one each for red, green and blue. A pixel of an "
            "8-bit photo is a level from 0 to 255 in each of them. They are scaled to 0 to 1, "
            "the mean of the training set is subtracted from each channel, and the rest is "
            "divided by a deviation.",
            "The network receives the lower numbers. A value of 0 now means average brightness, "
            "which is why zeros around an image are a neutral padding.",
        ),
        command="image {cat}",
        python="model = convlens.load()\nresult = convlens.image_tensor(model, {cat})",
        compute=lambda materials: image_tensor(materials.model, materials.cat),
    ),
)
