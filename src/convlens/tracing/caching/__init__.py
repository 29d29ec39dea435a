"""Traces that are kept, in memory and on disk, and when they are still right.

trace_cache.py        the traces that are kept
disk_traces.py        traces in the disk cache
stored_trace.py       a trace as plain data
network_state.py      what a trace depends on
known_code.py         networks whose code is known
"""
