"""The trace of a network: its operations in the order of execution, its nodes and their names.

tracer.py               `trace`: the trace of a model, made once and then kept
trace.py                `Trace`: nodes, names, shapes and receptive fields
runs.py                 the runs from which it is made
recorder.py             records the operations of a run
recording.py            what is recorded
hooks.py                follows the modules and functions of a network
fake_batch_norm.py      batch normalization of fake tensors, in less time
tensor_nodes.py         the node that each tensor holds
trial_runs.py           runs on generated images
batch.py                the dimension of the images
batch_dependence.py     do images of a batch affect one another?
random_operations.py    operations that draw random numbers
dimensions.py           the dimensions of rows and columns
receptive_field/        receptive fields
interval.py             the pixels that each element sees
multiply_adds.py        costs
registry.py             `register_operation`: rules of users
operation_view.py       what a rule receives
known_values.py         values that do not depend on the image
structure.py            logits and the final convolutional layer
nonlinearities.py       non-linearities, also of several operations
stacks.py               non-linearities that are written with a stack
convolutions.py         convolutions with the nodes of their channels
sides.py                the sides of a layer
selection.py            layers, channels, units and sides by name
node_names.py           names of nodes
channel_names.py        names of channels and units
capture_points.py       the name under which a node is captured
final_activation.py     are outputs logits or probabilities?
written_activations.py  softmax and sigmoid as several operations
probability_check.py    outputs that add up to 1
last_operations.py      the operations before the output
value_ranges.py         the range of each node
value_range.py          a range, and its arithmetic
gradient_stops.py       operations without a gradient
left_out.py             why layers are left out
input_size.py           why a network does not run on a size
memory.py               the memory of a run
image_parts.py          the parts in which a large batch runs
tiles.py                the tiles in which a large image runs
network_state.py        what a trace depends on
trace_cache.py          the traces that are kept
disk_traces.py          traces in the disk cache
stored_trace.py         a trace as plain data
known_code.py           networks whose code is known
model_fingerprint.py    the fingerprint of a model
"""
