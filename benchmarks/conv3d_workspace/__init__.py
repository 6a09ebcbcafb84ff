"""Predicted peaks of one large F.conv3d compared with those that others published for an H100.

`python -m benchmarks.conv3d_workspace` makes an environment for each version of torch, predicts
each published figure on the emulated card and prints predicted, published and the difference.
"""
