"""What is right, computed without convlens: by hooks, autograd, NaN, loops and torch's counter.

Each module has a function `check(case)` that raises `Mismatch` where convlens gives another value.
A ConvlensError passes through it: the campaign notes it as a refusal.
"""
