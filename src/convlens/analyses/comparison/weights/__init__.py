"""The weights that differ between two networks.

weights.py         `compare_weights`
tensor_changes.py  the simplest change that explains a tensor
"""
