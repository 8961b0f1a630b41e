"""A model that `tricera models convert … --to timm --out DIR` wrote, in timm.

python use_timm.py DIR picture.jpg
"""

import sys

import timm
import torch
from PIL import Image

folder, picture = sys.argv[1:]
model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
with torch.no_grad():
    features = model(transform(Image.open(picture).convert("RGB"))[None])
print(f"{type(model).__name__}: features {list(features.shape)}")
print("features", *features[0].tolist())
