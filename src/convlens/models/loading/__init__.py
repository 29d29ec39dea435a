"""Loads a Model from a spec, the text that names it.

load.py             `load` and `list_models`
specs.py            the forms of a spec
sources/            networks of torchvision, of timm and of users, and the default network
weights/            weights in files, and how they are loaded into a network
architectures.py    the network of a weight file that does not name it
run_folder.py       networks that a training wrote
run_description.py  checks the description in a run folder
run_photos.py       the photos in a run folder
checkpoints.py      `load_checkpoints`: all checkpoints of a training
class_names.py      class names from files and checkpoints
labels_of_spec.py   class names that are known before torch is imported
load_options.py     the options, and the line of Python, that load the same Model again
demo_photos.py      the demonstration photos
default_photos.py   the photos of a network where the user gives none
"""
