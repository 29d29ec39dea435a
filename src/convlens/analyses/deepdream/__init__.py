"""DeepDream: a photo changed so that a layer responds more strongly to it.

deepdream.py    `dream`
result.py       its result
objective.py    the node that is strengthened; sets the error signal there
octaves.py      the sizes of the photo
octave_loop.py  gradient ascent, octave by octave
tiles.py        the gradient of a large photo, computed in tiles
"""
