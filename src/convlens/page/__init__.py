"""The self-contained page: a network and photos in, one HTML file out."""
