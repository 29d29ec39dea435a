"""What analyses need around a network: the guard, clones, memory, threads.

guard.py                 the block after which a network is as it was before
module_contents.py       what the modules of a network hold
module_state.py          saves and restores it
module_list.py           the list of modules
exclusive.py             one thread at a time uses a network
shared_context.py        contexts that all threads share
clone.py                 copies of networks that share their weights
rebinding.py             functions that refer to the copies
memory_format.py         channels-last where the network allows it
double_precision.py      copies in double precision
extrema.py               the least and the greatest value of a tensor
precision.py             single precision
composite_operations.py  composite operations in inference mode
default_device.py        the device of new tensors
convolution_call.py      what a convolution receives in a run
fingerprints.py          hashes by which changes are seen
memory.py                free memory
allocator.py             the allocator of the C library
threads.py               threads of OpenMP that sleep while they wait
garbage.py               fewer garbage collections
interrupts.py            Ctrl-C as a flag
callbacks.py             callbacks that may be left out
extras.py                checks that optional packages are installed
"""
