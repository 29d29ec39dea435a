"""How to read the pictures of `diff`, by the name of the picture."""

HOW_TO_READ = {
    "answers": (
        "Lost: photos that only the first network gets right. Gained: photos that only the second "
        "gets right. Photos on which both are right or both are wrong say nothing about which "
        "network is better, so McNemar's test compares lost with gained. Photos that were drawn "
        "together, such as frames of one video, make its p-value too small."
    ),
    "Grad-CAM": (
        "For photos whose answers changed, of each kind those of which both networks are surest: "
        "what each network's own answer rests on. Red cells support the answer, blue cells argue "
        "against it. "
        "Each map has its own scale, so strengths cannot be compared between maps. If no answer "
        "changed, these are photos on which both give the same answer."
    ),
    "difference by layer": (
        "Both networks ran on the same photos. At each node the difference is measured in the "
        "channel where it exceeds rounding most, relative to the values of the node. The dashed "
        "line is what rounding explains: the distance of both networks from the same computation "
        "in double precision. The first node above it is named; nodes that are equal in every bit "
        "have no dot. Later nodes differ because earlier ones do."
    ),
    "weights": (
        "The change of each tensor, in the order of the network. A small change of one value in an "
        "early layer can matter more than a large change of a tensor that few photos depend on."
    ),
    "CKA": (
        "Linear centered kernel alignment compares what two layers tell apart: 1 if their "
        "activations are the same up to rotation and scale, near 0 if they have nothing in common. "
        "Layers are read at the same points of the same photos. A cross marks pairs of layers that "
        "are no more alike than the layer of one network on these photos and the layer of the "
        "other network on other photos. CKA does not show whether a difference matters for the "
        "answers, and a few photos give high values for unrelated layers, too."
    ),
    "correlations of matched channels": (
        "Each channel of the last convolution of the first network is matched with one channel of "
        "the second one, so that the sum of the correlations of their activations is greatest. The "
        "dashed line is what the same choice reaches for 5 % of the channels if the photos of the "
        "second network are in another order."
    ),
    "patches of matched channels": (
        "On the left the patches that activate a channel of the first network most, on the right "
        "those of the matched channel of the second network, strongest first. The first pairs are "
        "the most alike, the last ones the least."
    ),
    "filters": (
        "The filters of the first convolution of both networks on one scale, in pairs that differ "
        "most if both layers have the same shape."
    ),
    "robustness": (
        "The share of correct or, without labels, unchanged answers if every pixel may change by "
        "epsilon, with 95 % intervals: FGSM takes one step, PGD several, and random signs of the "
        "same size show what noise does. On few photos the intervals are wide; overlapping "
        "intervals do not show that the networks are equally robust."
    ),
    "shift": (
        "How much the map of each layer differs from the shifted map after the photo is shifted by "
        "one pixel, relative to the variation of the map: 0 is equivariant, 1.4 unrelated. Only "
        "positions that see nothing but the photo count. The layers of each network are spread "
        "over the axis in the order of execution."
    ),
}
