"""Processes in sessions of their own, a daemon and a thread, started at import."""

import os
import subprocess
import threading
import time

import torch
from torch import nn

for _ in range(6):
    subprocess.Popen(["sleep", "300"], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    time.sleep(300)
    os._exit(0)
threading.Thread(target=time.sleep, args=(300,), daemon=False).start()


def build_model():
    return nn.Linear(16, 4)


def build_batch(batch_size):
    return torch.randn(batch_size, 16), torch.randint(0, 4, (batch_size,))
