"""Weights in files, and how they are loaded into a network.

weight_files.py  weight files, read without running code in them
state_dicts.py   the state dicts in the content of such a file
fitting.py       loads weights into a network, and says what was done
misfits.py       why weights do not fit, in words
old_names.py     old names of tensors
classifier.py    classifiers of another size
"""
