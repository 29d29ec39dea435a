"""One thread: small networks gain nothing from more, and several test runs share a machine."""

import torch

torch.set_num_threads(1)
