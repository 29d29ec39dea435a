"""The trace of a network: its operations in the order of execution, its nodes and their names.

`tracer.py` runs a copy of a network on fake tensors and returns a `Trace`. `recorder.py` records
the operations that run, with `hooks.py` for the modules around them and `tensor_nodes.py` for
in-place operations; `recording.py` holds what is recorded. `structure.py` finds the logits and the
final convolutional layer. `receptive_field/` computes receptive fields, and `selection.py` finds
layers, channels and units by name.
"""
