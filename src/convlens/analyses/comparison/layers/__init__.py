"""The first layer at which two networks differ by more than rounding.

layer_comparison.py   `compare_layers`
layer_differences.py  its result
node_pairs.py         the nodes of both networks that can be compared
double_precision.py   a model in double precision
input_change.py       how the input of the first convolution differs
"""
