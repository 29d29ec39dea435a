"""Grad-CAM: which parts of an image support a class.

gradcam.py               `gradcam` and `gradcam_layers`; CAM weights (`compute_alpha`) and maps
options.py               the options that all Grad-CAM functions share
targets.py               what is explained: classes, differences, functions of the output
layers.py                the layers whose maps are weighted
result.py                the result at one layer
layers_result.py         the result at several layers
pictures.py              overlays and strips of maps
sides_and_layers.py      maps on both sides and at several layers, from one forward pass
repeated.py              maps of one class after the other, from one forward pass
deletion_insertion.py    check: deletion and insertion curves
map_checks.py            on how many photos this check holds
randomization.py         check: maps of the network with random weights
randomization_result.py  its result
pointing_game.py         check: do maps point at boxes of objects?
boxes.py                 boxes of objects, from a CSV file
dataset_pass.py          `gradcams`: the maps of a data set, written to a folder
batch_work.py            what this pass does with each batch
dataset_result.py        its result
table.py                 its tables, scores.csv and numbers.json
overview.py              its index.html
"""
