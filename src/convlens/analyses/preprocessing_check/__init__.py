"""Whether the preprocessing of photos is the right one.

preprocessing_check.py  `check_preprocessing`
result.py               its result
variants.py             the configured preprocessing, and the usual mistakes
scores.py               how well the network does with a variant
distinctness.py         whether predictions depend on the photo
verdict.py              whether a variant is clearly better
"""
