"""Networks by the place from which they come.

torchvision_models.py  networks of torchvision
timm_models.py         networks of timm
embedded.py            the default network
python_factory.py      networks made by a user's function
download.py            random weights in specs, and messages of failed downloads
"""
