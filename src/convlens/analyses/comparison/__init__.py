"""The differences between two networks.

diff.py           `diff`: everything that differs, on the same photos
result.py         its result
explanations.py   how its pictures are to be read
answers/          the answers that differ
weights/          the weights that differ
layers/           the first layer that differs by more than rounding
similarity/       the similarity of layers and of channels
photo_sample.py   the photos of a comparison, prepared for both networks, and its cost
further_parts.py  the parts of `diff` beyond answers, weights and layers
side_by_side.py   filters, Grad-CAM, robustness and shift of both networks
pair_pictures.py  their pictures
"""
