"""A service process and a thread at import, as experiment trackers start them."""

import subprocess
import threading
import time

import torch
from torch import nn

subprocess.Popen(["sleep", "300"], start_new_session=True)
threading.Thread(target=time.sleep, args=(300,), daemon=True).start()


def build_model():
    return nn.Linear(16, 4)


def build_batch(batch_size):
    return torch.randn(batch_size, 16), torch.randint(0, 4, (batch_size,))
