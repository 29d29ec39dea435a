"""How often, where and why a network is wrong on labeled photos.

dataset_pass.py          `error_analysis`
result.py                its result
explanations.py          how its pictures are to be read
sheets.py                its pictures
reducer.py               what the pass counts of right and wrong predictions
kept_photos.py           the tables of photos that it keeps
right_classes.py         right classes as a tensor, and outputs as one column for each prediction
explain_errors.py        examines errors one by one
evidence.py              the evidence about an error
causes.py                the rules by which evidence names causes
changed_predictions.py   predictions after changes of a photo
views.py                 other views of a photo
error_maps.py            Grad-CAM of the right minus the predicted class
responsible_channels.py  patches of the channels behind wrong predictions
similar_photos.py        similar photos of the right and of the predicted class
neighbors.py             nearest photos in the last layer
photo_selection.py       some of the photos of a pass, read again
"""
