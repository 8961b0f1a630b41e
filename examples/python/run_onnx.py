"""A graph that `tricera export` wrote, run by onnxruntime on a picture.

python run_onnx.py first.onnx picture.jpg
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

graph, picture = sys.argv[1:]
session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
rules = json.loads(session.get_modelmeta().custom_metadata_map["preprocessor_config"])

image = Image.open(picture).convert("RGB")
size = rules["size"]
if "shortest_edge" in size:  # the short side to that, then the centre
    short, crop = min(image.size), rules["crop_size"]
    image = image.resize([size["shortest_edge"] * side // short for side in image.size], rules["resample"])
    left, top = (image.width - crop["width"]) // 2, (image.height - crop["height"]) // 2
    image = image.crop((left, top, left + crop["width"], top + crop["height"]))
else:  # squeezed to a square
    image = image.resize((size["width"], size["height"]), rules["resample"])
pixels = (np.asarray(image, np.float32) * rules["rescale_factor"] - rules["image_mean"]) / rules["image_std"]
pixel_values = pixels.transpose(2, 0, 1)[None].astype(np.float32)

names = [output.name for output in session.get_outputs()]
for name, values in zip(names, session.run(names, {"pixel_values": pixel_values})):
    print(f"{name} {list(values.shape)}")
    print(f"{name} begins", *values.reshape(-1, values.shape[-1])[0].tolist())
