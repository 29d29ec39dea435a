"""What trained networks have learned: filters, patches, images, maps, attacks, dreams."""

from convlens.analyses.attacks.fgsm import fgsm
from convlens.analyses.deepdream.deepdream import dream
from convlens.analyses.gabor.fit import fit_gabor
from convlens.analyses.gradcam.gradcam import gradcam
from convlens.analyses.maximize.maximize import maximize
from convlens.analyses.patches.dataset_pass import patches
from convlens.results import Result
from convlens.textbook.notion import Materials, Notion
from convlens.training.filter_learning import learn_filters

_CHANNELS = (29, 83)  # of blocks.2.0.conv_dw
_CLASSES = ("tiger cat", "daisy", "espresso")
_EPSILONS = ("1/255", "2/255", "4/255")


def _find_patches(materials: Materials) -> Result:
    return patches(
        materials.model, list(materials.photos.values()), layers=["blocks.2.0.conv_dw"],
        show={"blocks.2.0.conv_dw": list(_CHANNELS)},
    )  # fmt: skip


TRAINED = (
    Notion(
        name="first_layer",
        section="10.3.2",
        title="Filters of a first layer beside Gabor functions",
        formula="",
        text=(
            "A network with kernels of 11 × 11 was trained for less than a minute on patches of "
            "photos. Its task is to restore a patch from a noisy copy, with few units active. "
            "Nothing in it asks for edges, and its filters start as noise.",
            "Each filter stands beside the nearest Gabor function. A Gabor function fits a good "
            "part of any smooth filter, so each fit is compared with fits to equally smooth noise "
            "(false discovery rate 5 %); only those that are better than chance are called "
            "Gabor-like.",
        ),
        command="learn-filters",
        python="result = convlens.fit_gabor(convlens.learn_filters(), null_size=1000)",
        compute=lambda materials: fit_gabor(learn_filters(), null_size=1000),
    ),
    Notion(
        name="patches",
        section="10.3.2",
        title="Patches that activate a channel most",
        formula="",
        text=(
            "For channels deeper inside, a filter's weights say little, as they apply to other "
            "channels. Instead, the unit is asked: which patches of photos activate it most? Each "
            "picture is the receptive field of one unit.",
        ),
        command="patches {photos} --channel blocks.2.0.conv_dw:29 --channel blocks.2.0.conv_dw:83",
        python="model = convlens.load()\n"
        'layer, channels = "blocks.2.0.conv_dw", [29, 83]\n'
        "result = convlens.patches(\n"
        "    model, {photos}, layers=[layer], show={{layer: channels}}\n"
        ")",
        compute=_find_patches,
    ),
    Notion(
        name="class_images",
        section="10.3.2",
        title="Images of classes",
        formula=r"$\max_{\mathbf{x}}\; a_c(\mathbf{x})$",
        text=(
            "Gradient ascent changes the pixels of faint noise until the logit of a class is as "
            "large as possible. The parameters of the network stay as they are.",
            "The images are no typical members of their classes. They show what raises the logit.",
        ),
        command="maximize --class 'tiger cat' --class daisy --class espresso --image-size 160",
        python="model = convlens.load()\n"
        'result = convlens.maximize(model, ["tiger cat", "daisy", "espresso"], image_size=160)',
        compute=lambda materials: maximize(materials.model, list(_CLASSES), image_size=160),
    ),
    Notion(
        name="gradcam",
        section="10.3.3",
        title="Grad-CAM",
        formula=r"$\alpha_k = \dfrac{1}{M_k}\sum_i\sum_j "
        r"\dfrac{\partial a_c}{\partial z_{ij}^{(k)}}\qquad L = \sum_k \alpha_k A^{(k)}$",
        text=(
            "Which part of the photo supports a class? The gradients of the class's logit with "
            "respect to each map of the final convolutional layer are averaged, and weight the "
            "maps. Red supports the class, blue argues against it.",
        ),
        command="gradcam {cat} --class 'tiger cat' --class 'Egyptian cat'",
        python="model = convlens.load()\n"
        "image = model.prepare({cat})\n"
        'result = convlens.gradcam(model, image, classes=["tiger cat", "Egyptian cat"])',
        compute=lambda materials: gradcam(
            materials.model, materials.cat, classes=["tiger cat", "Egyptian cat"]
        ),
    ),
    Notion(
        name="adversarial",
        section="10.3.4",
        title="An adversarial example",
        formula=r"$\mathbf{x}' = \mathbf{x} + \epsilon\,\mathrm{sign}(\nabla_{\mathbf{x}}"
        r"E(\mathbf{x}, t))$",
        text=(
            "Every pixel moves by at most ε in the direction that raises the error (fast gradient "
            "sign method). The change is too small to be seen, and yet the answer changes.",
        ),
        command="fgsm {flower} --epsilons 1/255,2/255,4/255",
        python="model = convlens.load()\n"
        "image = model.prepare({flower})\n"
        'result = convlens.fgsm(model, image, ["1/255", "2/255", "4/255"])',
        compute=lambda materials: fgsm(materials.model, materials.flower, list(_EPSILONS)),
    ),
    Notion(
        name="dream",
        section="10.3.5",
        title="DeepDream",
        formula=r"$F(\mathbf{x}) = \dfrac{1}{2}\Vert \mathbf{a}(\mathbf{x}) \Vert^2$",
        text=(
            "A photo is changed so that a layer responds more strongly to it: the gradient of the "
            "sum of the squared pre-activations is added to the pixels, again and again, at "
            "several sizes. What the layer sees faintly in the photo becomes visible.",
        ),
        command="dream {cat} --octaves 3 --image-size 320",
        python="model = convlens.load()\n"
        "result = convlens.dream(model, {cat}, octaves=3, image_size=320)",
        compute=lambda materials: dream(
            materials.model, materials.photos["chelsea"], octaves=3, image_size=320
        ),
    ),
)
