"""Model: a network with preprocessing, normalization, bounds and labels.

model.py          `Model`
wrap.py           `wrap`: a Model of a network that exists in Python
loading/          `load`: a Model from a spec
networks/         the chapter's networks
supported.py      refuses networks that cannot be analyzed
outputs.py        which of several returned tensors holds the class scores
output_head.py    how logits become probabilities and predictions
labels.py         class names
label_tables.py   right classes of photos, in CSV files
folder_labels.py  right classes by the names of folders
description.py    a Model in a few lines
"""
