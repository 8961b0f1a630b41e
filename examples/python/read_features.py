"""Features that `tricera embed --out FILE` wrote, as NumPy: .safetensors, .npy, .csv or .parquet.

python read_features.py features.safetensors
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np


def read_features(file):
    """Features [n, d] (or [n, p, d] of patches), paths and labels, in one order."""
    if file.endswith(".parquet"):
        import pyarrow.parquet as pq

        table = pq.read_table(file)
        features = np.stack(table["embedding"].to_numpy())
        return features, table["path"].to_pylist(), table["label"].to_pylist()
    if file.endswith(".csv"):
        rows = list(csv.reader(open(file, newline="")))[1:]
        features = np.array([row[1:-1] for row in rows], dtype=np.float32)
        return features, [row[0] for row in rows], [row[-1] for row in rows]
    beside = json.loads(Path(file + ".json").read_text())
    if file.endswith(".npy"):
        features = np.load(file)
    else:
        from safetensors.numpy import load_file

        features = load_file(file)["features"]
    return features, beside["paths"], beside["labels"]


if __name__ == "__main__":
    features, paths, labels = read_features(sys.argv[1])
    print(f"{len(paths)} pictures, features {list(features.shape)} {features.dtype}")
    print(f"first: {paths[0]} ({labels[0]}): {features[0].ravel()[:3]}")
