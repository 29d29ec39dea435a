"""Activations and gradients at the nodes of a trace, with no more work than they need.

nodes.py            `capture_nodes` and `stream_nodes`: the activations at nodes
forward_pass.py     the forward pass that ends at the last of them
folded_networks.py  copies of networks without batch normalizations, which run faster
same_padding.py     "same" padding inside a convolution, for these copies
gradients.py        gradients to captured tensors
tiles.py            the maps of large images, in tiles
"""
