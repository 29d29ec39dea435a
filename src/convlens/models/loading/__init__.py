"""Loads a Model from a spec, the text that names it.

load.py                `load` and `list_models`
specs.py               the forms of a spec
torchvision_models.py  networks of torchvision
timm_models.py         networks of timm
embedded.py            the default network
python_factory.py      networks made by a user's function
run_folder.py          networks that a training wrote
run_description.py     checks the description in a run folder
run_photos.py          the photos in a run folder
checkpoints.py         `load_checkpoints`: all checkpoints of a training
weight_files.py        weight files, read without running code in them
state_dicts.py         the state dicts in the content of such a file
architectures.py       the network of a weight file that does not name it
fitting.py             loads weights into a network, and says what was done
misfits.py             why weights do not fit, in words
old_names.py           old names of tensors
classifier.py          classifiers of another size
class_names.py         class names from files and checkpoints
labels_of_spec.py      class names that are known before torch is imported
load_options.py        the options that load the same Model again
download.py            messages of failed downloads
demo_photos.py         the demonstration photos
default_photos.py      the photos of a network where the user gives none
"""
