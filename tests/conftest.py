"""One thread: small networks gain nothing from more, and several test runs share a machine."""

import pytest
import torch

torch.set_num_threads(1)

# Modules of fixtures, which test files name as plugins and import from; their asserts explain too.
pytest.register_assert_rewrite("support")
