"""Single precision: on GPUs that would otherwise multiply rounded numbers, and for new networks."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from convlens.runtime.shared_context import SharedContext


@SharedContext
@contextmanager
def full_precision() -> Iterator[None]:
    """Disable TF32 inside the block.

    TF32 has ten bits of mantissa, with which computations that are equal on paper differ visibly.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    previous = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = previous


@SharedContext
@contextmanager
def float32_networks() -> Iterator[None]:
    """Make networks that are built inside the block float32, whatever torch's default type is."""
    previous = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(previous)
