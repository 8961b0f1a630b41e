"""The tensors of a file that Tricera wrote (a checkpoint, an export, `models convert --to meta`), by safetensors alone.

python read_weights.py runs/first/checkpoints/step-00001000/teacher.safetensors
"""

import sys

from safetensors import safe_open

with safe_open(sys.argv[1], framework="np") as file:  # opened, not loaded: tensors are read when asked for
    names = list(file.keys())
    for name in names[:5]:
        print(name, file.get_slice(name).get_shape())
    print(f"{len(names)} tensors; {names[0]} begins {file.get_tensor(names[0]).ravel()[:3]}")
