"""The schedulers for which a resource request can be written.

Convention: a module of its own, which a command line without a request loads quickly.
"""

from __future__ import annotations

from enum import Enum


class RequestFormat(str, Enum):
    """The scheduler that reads the request."""

    SKY = "sky"
    """`resources` of a SkyPilot task."""
    DSTACK = "dstack"
    """`resources` of a dstack run configuration."""
    K8S = "k8s"
    """A fragment of a Kubernetes pod."""
    SLURM = "slurm"
    """Lines of an sbatch script."""
    HAMI = "hami"
    """A fragment of a Kubernetes pod where HAMi shares cards."""
