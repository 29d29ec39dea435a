"""The chapter's networks.

build.py    `build`: a network by its name
names.py    the names
convnet.py  the structure that all have in common, and the sizes of their maps
pooling.py  pooling layers
lenet.py    LeNet-5
alexnet.py  AlexNet
vgg.py      VGG
allconv.py  a small network for small images
"""
