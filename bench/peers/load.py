"""Process start to the first feature of a ViT from a Hugging Face folder, by transformers: the peer of `bench/load.ts`.

  python bench/peers/load.py --model DIR --photo FILE
"""
import argparse

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel

ap = argparse.ArgumentParser()
ap.add_argument("--model", required=True)
ap.add_argument("--photo", required=True)
a = ap.parse_args()
processor = AutoImageProcessor.from_pretrained(a.model)
model = AutoModel.from_pretrained(a.model).eval()
with torch.inference_mode():
    pixels = processor(images=Image.open(a.photo).convert("RGB"), return_tensors="pt")
    feature = model(**pixels).last_hidden_state[0, 0]
print("feature", " ".join(f"{x:.4f}" for x in feature[:4].tolist()), flush=True)
