"""Images that maximize a unit, a channel, a class or a direction.

maximize.py          `maximize`
result.py            its result
objectives.py        what an image is optimized for
parameterization.py  how its pixels are represented
transforms.py        the random moves at each step
crop_plan.py         the smallest image on which an objective can be optimized
ascent.py            gradient ascent on a batch of images
stored_ascent.py     the same, read from the disk cache where it can be
evaluation.py        what the images reach
"""
