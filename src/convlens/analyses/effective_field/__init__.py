"""The effective receptive field: where the gradient of a unit really lies inside its field."""
