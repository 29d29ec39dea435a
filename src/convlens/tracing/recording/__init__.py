"""What is recorded of a run: operations, tensors, modules.

recorder.py           records the operations of a run
recording.py          what is recorded
node_names.py         names of nodes
ancestors.py          the nodes from which other nodes are computed
hooks.py              follows the modules and functions of a network
tensor_nodes.py       the node that each tensor holds
known_values.py       values that do not depend on the image
input_size.py         why a network does not run on a size
trial_runs.py         runs on generated images
random_operations.py  operations that draw random numbers
fake_batch_norm.py    batch normalization of fake tensors, in less time
"""
