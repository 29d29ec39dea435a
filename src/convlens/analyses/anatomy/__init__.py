"""The layers of a network with their sizes and costs, and a drawing of them.

anatomy.py          `anatomy`
result.py           its result
layer.py            one row of the list of layers
window_settings.py  kernel, stride, padding and dilation of a layer
network_drawing.py  the geometry of the drawing: boxes and lines
network_figure.py   the drawing as a matplotlib figure
"""
