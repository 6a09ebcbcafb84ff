"""Explains how a file that is not Python becomes a target, by the end of its name.

In: a path. Out: the rest of a sentence that begins with the path.
"""

from __future__ import annotations

from pathlib import Path

_CONFIGURATION = (
    "is a configuration; name the Python file that builds the model from it: one whose "
    "build_model() reads it"
)
_WEIGHTS = (
    "holds weights, and a step needs code: name a Python file whose build_model() builds the "
    "network; it need not load the weights, their values move no memory"
)
_EXPORTED = (
    "is an exported model, and a training step needs its code in PyTorch: name a Python file whose "
    "build_model() builds the network"
)
_KINDS = {
    **dict.fromkeys((".yaml", ".yml", ".json", ".toml", ".cfg", ".ini"), _CONFIGURATION),
    **dict.fromkeys(
        (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".h5", ".pkl", ".npz"), _WEIGHTS
    ),
    **dict.fromkeys((".onnx", ".gguf", ".tflite", ".pb", ".engine", ".pt2"), _EXPORTED),
    ".ipynb": (
        "is a notebook; call planner.estimate(model, gpu=...) in it, or copy the cells that build "
        "the model into a Python file with a build_model()"
    ),
    ".sh": "is a script of the shell; name a Python file with the model that it trains",
    ".pyc": "is compiled; name its source",
}


def is_known_kind(path: Path) -> bool:
    """Returns whether the kind of the file is known from the end of its name."""
    return path.suffix.lower() in _KINDS


def what_it_needs(path: Path) -> str:
    """Returns the rest of a sentence, like "is a notebook; ..." for net.ipynb."""
    return _KINDS.get(path.suffix.lower(), "is not a Python file; its name must end in .py")
