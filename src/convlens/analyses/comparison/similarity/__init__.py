"""The similarity of the layers and channels of two networks.

cka.py                        `cka`: the similarity of layers
cka_result.py                 its result
centered_kernel_alignment.py  its mathematics
channel_matching.py           `match_channels`: the channels that respond alike
channel_matching_result.py    its result
sampled_features.py           the activations of layers at sampled positions
"""
