"""The trace of a network: its operations in the order of execution, its nodes and their names.

`trace.py` runs a copy of a network on fake tensors and returns a `Trace`. `recorder.py` writes down
what runs, `structure.py` finds the logits and the final convolutional layer in it, and
`receptive_field/` follows the pixels of the image through every operation.
"""
