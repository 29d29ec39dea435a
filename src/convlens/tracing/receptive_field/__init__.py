"""Receptive fields, operation by operation.

fields.py          the fields of all nodes
rules.py           the rule of each operation
windows.py         convolution, pooling, interpolation and padding
rearranging.py     moving, joining and reinterpreting elements
combining.py       reductions, normalization, matrix products and attention
indexing.py        indexing, gathering and sorting
sampling.py        sampling at computed positions
storage.py         views by strides, writes through views
"""
