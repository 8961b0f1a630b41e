"""A model of Tricera's (`RUN/exported/last`, `tricera models convert … --to hf`) in transformers.

python use_transformers.py runs/first/exported/last picture.jpg
"""

import sys

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel

folder, picture = sys.argv[1:]
processor = AutoImageProcessor.from_pretrained(folder)
model = AutoModel.from_pretrained(folder).eval()
with torch.no_grad():
    tokens = model(**processor(Image.open(picture).convert("RGB"), return_tensors="pt")).last_hidden_state
print(f"{type(model).__name__}: tokens {list(tokens.shape)}")
print("class token", *tokens[0, 0].tolist())
