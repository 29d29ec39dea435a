"""Pooling, and an example network."""

from convlens.analyses.anatomy.anatomy import anatomy
from convlens.analyses.feature_maps.feature_maps import feature_maps
from convlens.analyses.worked_examples.pooling import pooling_arithmetic
from convlens.textbook.notion import Notion

NETWORKS = (
    Notion(
        name="pooling",
        section="10.2.6",
        title="Max and average pooling",
        formula=r"$y = \max_{(j,k)\,\in\,\mathrm{window}} x_{j,k}\qquad "
        r"y = \dfrac{1}{M^2}\sum_{(j,k)\,\in\,\mathrm{window}} x_{j,k}$",
        text=(
            "Each window of 2 × 2 numbers becomes one number, its greatest or its mean. Pooling "
            "has no parameters.",
            "Why does it give invariance? The greatest number of a window may stand anywhere in "
            "it. Shifted to the right, all greatest numbers of this map stay in their windows: "
            "nearly every number of the map changes, and no maximum does. The means do change.",
            "The invariance is local and approximate. Shifted to the left, the greatest numbers "
            "leave their windows, and maxima change, too.",
        ),
        command="pooling",
        python="result = convlens.pooling_arithmetic()",
        compute=lambda materials: pooling_arithmetic(),
    ),
    Notion(
        name="pooled_maps",
        section="10.2.6",
        title="Feature maps of a trained network, max pooled",
        formula="",
        text=(
            "The maps of the first layer of EfficientNet-Lite0 on a photo. After pooling of "
            "2 × 2 they have a quarter of the numbers, and show the same features in about "
            "the same places.",
        ),
        command="maps {cat} --layer conv_stem --pooling max",
        python="model = convlens.load()\n"
        "image = model.prepare({cat})\n"
        'result = convlens.feature_maps(model, image, layer="conv_stem", pooling="max")',
        compute=lambda materials: feature_maps(
            materials.model, materials.cat, layer="conv_stem", pooling="max"
        ),
        figure="pooled_figure",
    ),
    Notion(
        name="vgg16",
        section="10.2.8",
        title="VGG-16",
        formula="",
        text=(
            "13 convolutions of 3 × 3 with same padding and ReLU, in five stages. Max pooling of "
            "2 × 2 after each stage halves the sides of the maps, and the number of channels "
            "doubles up to 512. Three fully connected layers follow.",
            "The height of a box grows with the square root of the rows of its output, the width "
            "with that of the channels. Nine tenths of the parameters are in the fully connected "
            "layers.",
        ),
        command="anatomy --model torchvision:vgg16@random --draw vgg16.svg",
        python='result = convlens.anatomy(convlens.load("torchvision:vgg16@random"))',
        compute=lambda materials: anatomy(materials.load("torchvision:vgg16@random")),
    ),
)
