"""Padding, strides and channels: the sizes of a convolutional layer."""

from convlens.analyses.shift.translation import translation
from convlens.analyses.worked_examples.layer import layer_arithmetic
from convlens.analyses.worked_examples.window_grid import window_grid
from convlens.textbook.notion import Notion

SIZES = (
    Notion(
        name="padding_valid",
        section="10.2.3",
        title="Valid: without padding the map is smaller than the image",
        formula=r"$J - M + 1$",
        text=(
            "The filter of M × M weights must lie inside the image of J × J pixels. With M = 3 it "
            "can start at J − M + 1 = 4 of the 6 rows. Each dot is the middle of one window, and "
            "gives one cell of the output.",
        ),
        command="window --size 6 --kernel 3",
        python="result = convlens.window_grid(6, 3)",
        compute=lambda materials: window_grid(6, 3),
    ),
    Notion(
        name="padding_same",
        section="10.2.3",
        title="Same: with padding the map is as large as the image",
        formula=r"$J + 2P - M + 1 = J \quad\mathrm{for}\quad P = (M - 1)\,/\,2$",
        text=(
            "P zeros are put on each side of the image (the cells with a 0), so that a window can "
            "be centered on each of its pixels. For an odd M, P = (M − 1)/2 are needed.",
        ),
        command="window --size 6 --kernel 3 --padding same",
        python='result = convlens.window_grid(6, 3, padding="same")',
        compute=lambda materials: window_grid(6, 3, padding="same"),
    ),
    Notion(
        name="stride",
        section="10.2.4",
        title="Stride 2: every second window",
        formula=r"$\left\lfloor \dfrac{J + 2P - M}{S} \right\rfloor + 1$",
        text=(
            "What does stride S = 2 change? The filter moves by two pixels at a time, so every "
            "second window is left out. The output is about half as long in each direction, and "
            "has about a quarter of the positions. The number of weights stays the same.",
            "The first window (brown) and the next one (blue) still overlap by one column, because "
            "the filter is wider than the stride.",
        ),
        command="window --size 7 --kernel 3 --stride 2",
        python="result = convlens.window_grid(7, 3, stride=2)",
        compute=lambda materials: window_grid(7, 3, stride=2),
    ),
    Notion(
        name="stride_rounded",
        section="10.2.4",
        title="The last pixels may be in no window",
        formula="",
        text=(
            "With 6 pixels a third window would reach beyond the image, so the size is rounded "
            "down. The gray row and column are in no window.",
        ),
        command="window --size 6 --kernel 3 --stride 2",
        python="result = convlens.window_grid(6, 3, stride=2)",
        compute=lambda materials: window_grid(6, 3, stride=2),
    ),
    Notion(
        name="stride_translation",
        section="10.2.4",
        title="With a stride, equivariance holds for some shifts only",
        formula="",
        text=(
            "At stride 2 the map has a number for every second pixel. After a shift by an odd "
            "number of pixels the windows lie on other pixels than before, and no shift of the map "
            "gives the new map. After a shift by 16 the difference would be 0.",
        ),
        command="translation {camera} --shift 0,15 --stride 2",
        python="result = convlens.translation({camera}, shift=(0, 15), stride=2)",
        compute=lambda materials: translation(materials.photos["camera"], shift=(0, 15), stride=2),
    ),
    Notion(
        name="channels",
        section="10.2.5",
        title="Many channels",
        formula=r"$(M^2 C + 1)\,C_{\mathrm{out}}$",
        text=(
            "A filter has one slice of M × M weights for each of the C channels of the input. The "
            "products of all slices and one bias are added to one number, so each filter gives "
            "one map.",
            "How many parameters has the layer? M²C weights and one bias for each of the C_out "
            "filters: here (9 · 3 + 1) · 2 = 56.",
            "The count does not contain the size of the image: the same weights serve every "
            "position. A fully connected layer between the same maps would need a weight for each "
            "pair of an input and an output.",
        ),
        command="layer --channels-in 3 --channels-out 2 --size 32",
        python="result = convlens.layer_arithmetic(3, 2, size=32)",
        compute=lambda materials: layer_arithmetic(3, 2, size=32),
    ),
    Notion(
        name="channels_vgg",
        section="10.2.5",
        title="The first layer of VGG-16",
        formula="",
        text=(
            "64 filters of 3 × 3 × 3 weights: 27 weights and a bias each, 1,792 parameters in "
            "all, on maps of 224 × 224 positions.",
        ),
        command="layer --channels-in 3 --channels-out 64 --size 224",
        python="result = convlens.layer_arithmetic(3, 64, size=224)",
        compute=lambda materials: layer_arithmetic(3, 64, size=224),
    ),
)
