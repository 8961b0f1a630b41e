"""ONNX files as torch writes them, of tiny random networks of transformers, and what the networks give: python make.py FOLDER

Needs torch, transformers, onnx, onnxscript, safetensors. Each case: NAME.onnx.gz, NAME.config.json, NAME.safetensors (x, y), NAME.json.
"""
import gzip
import json
import os
import sys
import tempfile

import onnx
import torch
import transformers
from safetensors.torch import save_file
from transformers import (
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    ViTConfig,
    ViTModel,
)


class Tokens(torch.nn.Module):
    """A model's two outputs as a tuple."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixel_values):
        found = self.model(pixel_values=pixel_values)
        return found.last_hidden_state, found.pooler_output


def draw(model):
    """Weights that are all in use: norms near 1."""
    for name, parameter in model.named_parameters():
        near = 1.0 if ("norm" in name and name.endswith("weight")) or "lambda" in name else 0.0
        parameter.data.normal_(near, 0.2)
    return model.eval()


COMMON = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4)
CASES = {
    "torch_dinov2_registers": (
        lambda: Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**COMMON, num_register_tokens=2, mlp_ratio=2)),
        True,
    ),
    "torch_dinov3": (lambda: DINOv3ViTModel(DINOv3ViTConfig(**COMMON, intermediate_size=16, num_register_tokens=2)), False),
    "torch_vit": (lambda: ViTModel(ViTConfig(**COMMON, intermediate_size=16)), False),
}


def export(model, x, path, by_dynamo):
    names = dict(input_names=["pixel_values"], output_names=["last_hidden_state", "pooler_output"])
    if by_dynamo:
        shapes = {"pixel_values": {0: torch.export.Dim("batch")}}
        torch.onnx.export(model, (x,), path, dynamo=True, dynamic_shapes=shapes, external_data=False, **names)
    else:
        axes = {"pixel_values": {0: "batch_size", 2: "height", 3: "width"}}
        torch.onnx.export(model, (x,), path, dynamo=False, dynamic_axes=axes, opset_version=17, **names)


def strip(path):
    """Takes off notes of where on this machine a node comes from."""
    model = onnx.load(path)
    for part in [model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer]:
        part.doc_string = ""
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]
    return model.SerializeToString(deterministic=True)


def main(folder):
    os.makedirs(folder, exist_ok=True)
    for name, (make, by_dynamo) in CASES.items():
        torch.manual_seed(0)
        model = Tokens(draw(make())).eval()
        x = torch.randn(2, 3, 8, 8)
        with torch.no_grad():
            y, _ = model(x)
        with tempfile.TemporaryDirectory() as temporary:
            path = os.path.join(temporary, "model.onnx")
            export(model, x, path, by_dynamo)
            with gzip.GzipFile(os.path.join(folder, f"{name}.onnx.gz"), "wb", 9, mtime=0) as out:
                out.write(strip(path))
        save_file({"x": x, "y": y.contiguous()}, os.path.join(folder, f"{name}.safetensors"))
        with open(os.path.join(folder, f"{name}.config.json"), "w") as out:
            json.dump(model.model.config.to_diff_dict(), out)
        about = {
            "reference": f"{type(model.model).__name__} of transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}",
            "exporter": "torch.onnx.export, dynamo" if by_dynamo else "torch.onnx.export, TorchScript, opset 17",
            "tolerance": {"atol": 1e-5, "rtol": 1e-4},
        }
        with open(os.path.join(folder, f"{name}.json"), "w") as out:
            json.dump(about, out, indent=1)


main(sys.argv[1])
