"""Equivariance and invariance of a network under shifts.

dataset_pass.py     `shift`: all measurements in one pass
shift.py            its result and reducer
equivariance.py     `equivariance`: is the map of the shifted image the shifted map?
shifted_layers.py   the layers and shifts that are compared
map_comparison.py   compares their maps
error_histogram.py  medians of the errors over a data set
consistency.py      how often two shifted views get the same prediction
offset_map.py       `map_offsets`: the probability of a class at every offset of a photo
views.py            shifted views of a photo
translation.py      `translation`: the chapter's equivariance of one convolution
"""
