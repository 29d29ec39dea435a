"""A small labeled network and photos, for the folders that a pass over photos writes."""

import torch
from PIL import Image
from torch import nn

import convlens

SIZE = 12


def labeled_model(labels):
    """A network of three classes, with these names, on images of 12 × 12 pixels."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    return convlens.wrap(network, size=SIZE, labels=labels)


def save_noise(folder, names):
    """Photos of noise with these file names, as PNG whatever their suffix."""
    paths = [folder / name for name in names]
    for path in paths:
        Image.effect_noise((SIZE, SIZE), 90).convert("RGB").save(path, format="PNG")
    return paths
