"""The trace of a network: its operations in the order of execution, its nodes and their names.

tracer.py               `trace`, `trace_images`: the trace of a model, made once and then kept
trace.py                `Trace`: nodes, names, shapes and receptive fields
runs.py                 the runs from which it is made
batch.py                the dimension of the images
batch_dependence.py     do images of a batch affect one another?
dimensions.py           the dimensions of rows and columns
receptive_field/        receptive fields
interval.py             the pixels that each element sees
multiply_adds.py        costs
element_counts.py       how many numbers a run computes and reads
registry.py             `register_operation`: rules of users
operation_view.py       what a rule receives
convolutions.py         convolutions with the nodes of their channels
batch_norm_pairs.py     convolutions before batch normalizations
sides.py                the sides of a layer
selection.py            layers, channels, units and sides by name
channel_names.py        names of channels and units
capture_points.py       the name under which a node is captured
gradient_stops.py       operations without a gradient
unknown_operations.py   operations of which it is not known what they depend on
left_out.py             why layers have no maps
unfollowed.py           warnings where the trace cannot tell a layer's maps
memory.py               the memory of a run
image_parts.py          the parts in which a large batch runs
tiles.py                the tiles in which a large image runs
model_fingerprint.py    the fingerprint of a model
recording/              what is recorded of a run
outputs/                logits or probabilities, and the operations before them
caching/                traces that are kept, in memory and on disk
"""
