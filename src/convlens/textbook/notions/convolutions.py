"""Feature detectors, the convolution, and its equivariance."""

from convlens.analyses.feature_maps.feature_detector import feature_detector
from convlens.analyses.shift.translation import translation
from convlens.analyses.worked_examples.convolution import convolution_arithmetic
from convlens.textbook.notion import Notion

CONVOLUTIONS = (
    Notion(
        name="feature_detector",
        section="10.2.1",
        title="A unit detects the patch that looks like its kernel",
        formula=r"$z = \mathrm{ReLU}(\mathbf{w}^{\mathrm{T}}\mathbf{x} + w_0)\qquad "
        r"\mathbf{w}^{\mathrm{T}}\mathbf{x} \leq \Vert\mathbf{w}\Vert\,\Vert\mathbf{x}\Vert$",
        text=(
            "The unit multiplies each number of its patch with the weight at the same place of its "
            "kernel and adds the products and a bias. What is below 0 is cut off.",
            "Which patch gives the greatest sum? By the inequality of Cauchy and Schwarz, the sum "
            "is at most the product of the two norms, and equals it if the patch is a positive "
            "multiple of the kernel. Of all patches with this norm, the unit responds most to the "
            "one that equals its kernel up to a factor.",
        ),
        command="detector {cat}",
        python="model = convlens.load()\nresult = convlens.feature_detector(model, {cat})",
        compute=lambda materials: feature_detector(materials.model, materials.cat),
    ),
    Notion(
        name="convolution",
        section="10.2.2",
        title="A 3 × 3 image convolved with a 2 × 2 filter",
        formula=r"$C(j,k) = \sum_l \sum_m I(j+l,\,k+m)\,K(l,m)$",
        text=(
            "The filter lies on the image and moves one pixel at a time. At each position the "
            "numbers under it are multiplied with its weights and added up.",
            "Why is the result 2 × 2? A filter of 2 rows has 3 − 2 + 1 = 2 positions in 3 rows, "
            "and as many in 3 columns.",
            "Each sum is a number minus the one below it on the right. These always differ by "
            "4 here, so all four sums are −4: the filter sees only how brightness changes.",
        ),
        command="convolution",
        python="result = convlens.convolution_arithmetic()",
        compute=lambda materials: convolution_arithmetic(),
    ),
    Notion(
        name="convolution_random",
        section="10.2.2",
        title="The same with random numbers",
        formula="",
        text=(
            "A 4 × 4 image and a 2 × 2 filter have 4 − 2 + 1 = 3 positions in each direction, "
            "so there are nine sums. Another --seed draws other numbers.",
        ),
        command="convolution --random --seed 5",
        python="result = convlens.convolution_arithmetic(seed=5)",
        compute=lambda materials: convolution_arithmetic(seed=5),
    ),
    Notion(
        name="translation",
        section="10.2.2",
        title="A shifted image has a shifted map",
        formula=r"$C(T(I)) = T(C(I))$",
        text=(
            "All units of a map have the same weights. If the content of the image moves by some "
            "pixels, each patch meets the same weights somewhere else, and the map moves by as "
            "many positions. This is equivariance; invariance would be a map that does not change.",
            "The maps are compared where both views show the photo. Pixels and weights are whole "
            "numbers, so a difference of 0 is exact.",
        ),
        command="translation {camera}",
        python="result = convlens.translation({camera})",
        compute=lambda materials: translation(materials.photos["camera"]),
    ),
)
