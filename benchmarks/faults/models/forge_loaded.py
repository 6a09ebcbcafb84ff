"""A well-formed answer, written to every descriptor."""

import json
import os

import torch
from torch import nn

VERSIONS = {"torch": "9.9", "cuda": "1", "python": "0"}
BODY = {"versions": VERSIONS, "single_run": None, "failure": None}
for descriptor in range(3, 1024):
    try:
        os.write(descriptor, json.dumps({"kind": "Loaded", "body": BODY}).encode() + b"\n")
    except OSError:
        pass


def build_model():
    return nn.Linear(16, 4)


def build_batch(batch_size):
    return torch.randn(batch_size, 16), torch.randint(0, 4, (batch_size,))
