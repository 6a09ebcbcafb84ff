"""The comparison with published peaks of F.conv3d: what it needs to start."""

from __future__ import annotations

from benchmarks.conv3d_workspace.published import PUBLISHED
from benchmarks.record.environments import REQUIREMENTS


def test_each_published_torch_has_an_environment_with_that_version() -> None:
    for row in PUBLISHED:
        assert REQUIREMENTS[f"torch-{row.torch_version}"] == (f"torch=={row.torch_version}",)
