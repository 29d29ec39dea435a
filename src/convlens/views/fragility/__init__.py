"""Fragility: adversarial images, and what they change."""
