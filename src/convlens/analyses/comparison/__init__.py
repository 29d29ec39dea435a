"""The differences between two networks.

diff.py                       `diff`: everything that differs, on the same photos
result.py                     its result
explanations.py               how its pictures are to be read
answers.py                    `compare_answers`: the answers that differ
answer_work.py                the pass that counts them
class_pairing.py              the classes of both networks, paired by name or index
paired_difference.py          right answers lost and gained, with McNemar's test
weights.py                    `compare_weights`: the weights that differ
tensor_changes.py             the simplest change that explains a tensor
layer_comparison.py           `compare_layers`: the first layer that differs by more than rounding
layer_differences.py          its result
node_pairs.py                 the nodes of both networks that can be compared
input_change.py               how the input of the first convolution differs
cka.py                        `cka`: the similarity of layers
centered_kernel_alignment.py  its mathematics
channel_matching.py           `match_channels`: the channels that respond alike
photo_sample.py               the photos of a comparison, prepared for both networks, and its cost
sampled_features.py           the activations of layers at sampled positions
further_parts.py              the parts of `diff` beyond answers, weights and layers
side_by_side.py               filters, Grad-CAM, robustness and shift of both networks
pair_pictures.py              their pictures
"""
