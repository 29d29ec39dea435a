"""Saliency: where a network looks, and the evidence for it."""
