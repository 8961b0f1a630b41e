"""The pictures that are most like the first one, by features that `tricera embed` wrote.

python nearest.py features.parquet
"""

import sys

import numpy as np
from read_features import read_features

features, paths, labels = read_features(sys.argv[1])
unit = features / np.linalg.norm(features, axis=1, keepdims=True)
similarity = unit @ unit[0]
for i in np.argsort(-similarity)[:5]:
    print(f"{similarity[i]:.4f} {paths[i]}")
