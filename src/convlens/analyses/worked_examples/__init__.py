"""The chapter's arithmetic, worked out on small numbers that are drawn in full.

convolution.py  a small image convolved with a small filter, all sums written out
pooling.py      max and average pooling of a small map, before and after a shift
window_grid.py  where the windows of a filter lie, for a padding and a stride
layer.py        the channels of a convolutional layer, and the number of its parameters
"""
