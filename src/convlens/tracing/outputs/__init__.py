"""What the outputs are: logits, probabilities, and the operations before them.

structure.py            logits and the final convolutional layer
final_activation.py     are outputs logits or probabilities?
nonlinearities.py       non-linearities, also of several operations
operation_kinds.py      what single operations are, as steps of a non-linearity
elementwise.py          operations that keep each element in its place
written_activations.py  softmax and sigmoid as several operations
probability_check.py    outputs that add up to 1
last_operations.py      the operations before the output
value_ranges.py         the range of each node
value_range.py          a range, and its arithmetic
"""
