"""A photo as a tensor of numbers, and the mean that is subtracted from it.

image_tensor.py  the result, its figure and the public function
"""
