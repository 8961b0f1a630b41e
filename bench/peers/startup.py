"""Process start to the end of the first DINO step with torch, timm and lightly: the peer of `bench/startup.ts`, which can run it in turn.

  python startup.py --data DIR [--batch 8] [--workers 2]

DIR holds images. ViT-Ti/16 of timm, lightly's DINOTransform (2x224 + 8x96 crops), head and loss (65,536 outputs), AdamW, EMA teacher.
Prints `step 1 loss ...` when the step is done, then one JSON line with the time since the process began (Linux).
"""
import argparse
import json
import os
import time


def seconds_since_start():
    """Age of this process by the kernel's clock."""
    with open("/proc/self/stat") as file:
        ticks = int(file.read().rsplit(")", 1)[1].split()[19])  # field 22: start time after boot
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


parser = argparse.ArgumentParser()
parser.add_argument("--data", required=True)
parser.add_argument("--batch", type=int, default=8)
parser.add_argument("--workers", type=int, default=2)
options = parser.parse_args()

import timm
import torch
from lightly.data import LightlyDataset
from lightly.loss import DINOLoss
from lightly.models.modules import DINOProjectionHead
from lightly.models.utils import update_momentum
from lightly.transforms import DINOTransform

imported_s = seconds_since_start()


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = timm.create_model("vit_tiny_patch16_224", num_classes=0, dynamic_img_size=True)
        self.head = DINOProjectionHead(input_dim=192, hidden_dim=2048, bottleneck_dim=256, output_dim=65536)

    def forward(self, crops):
        return self.head(self.backbone(crops))


def main():
    transform = DINOTransform(global_crop_size=224, local_crop_size=96, n_local_views=8)
    loader = torch.utils.data.DataLoader(
        LightlyDataset(options.data, transform=transform),
        batch_size=options.batch,
        shuffle=True,
        drop_last=True,
        num_workers=options.workers,
    )
    student = Network()
    teacher = Network().requires_grad_(False)
    teacher.load_state_dict(student.state_dict())
    criterion = DINOLoss(output_dim=65536)
    optimizer = torch.optim.AdamW(student.parameters(), lr=5e-4 * options.batch / 256, weight_decay=0.04)

    views = next(iter(loader))[0]
    with torch.no_grad():
        targets = [teacher(view) for view in views[:2]]
    loss = criterion(targets, [student(view) for view in views], epoch=0)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(student.parameters(), 3.0)
    optimizer.step()
    update_momentum(student, teacher, m=0.996)
    print(f"step 1 loss {loss.item():.3f}", flush=True)
    first_step_ms = round(1000 * seconds_since_start())
    print(json.dumps(dict(script="startup", batch=options.batch, import_ms=round(1000 * imported_s), first_step_ms=first_step_ms)), flush=True)


if __name__ == "__main__":
    main()
