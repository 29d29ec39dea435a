"""The image patches that activate each channel most.

dataset_pass.py           `patches`
result.py                 its result
pictures.py               its pictures, and crops of receptive fields
cut.py                    `cut_patches`: patches of further channels after a pass
top_patches.py            the reducer of the pass
top_k.py                  the table of the strongest activations; breaks ties
spatial_max.py            the greatest activation of each map and its position
tile_maxima.py            the same of large images, tile by tile
activation_statistics.py  how often and how strongly each channel is active
layer_patches.py          draws the patches of a layer from its table
crop_check.py             check: a unit has the same activation on its receptive field alone
crop_check_result.py      the result of this check
windows.py                the smallest cutout of an image with the same activation
selectivity.py            which class a channel prefers, and how well it tells it from others
selectivity_pass.py       the pass that measures this
"""
