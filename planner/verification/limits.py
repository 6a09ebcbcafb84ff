"""Sets the bound that ends the search for the largest batch where memory does not.

In: an estimate's figures of the step. Out: a bound and its reason. Convention: the index limit is
never below a batch that was predicted to fit.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.memory.search import BOUND

_INDEX_LIMIT = 1 << 31  # elements: many kernels count them in 32 bits
_LEAST_ELEMENT_BYTES = 2  # the dtype is not known: counts at least as many elements as there are
_HOST_COPIES = 2  # the batch when it is made, and its copy when it is moved


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchLimit:
    """The largest batch that may be tried."""

    batch_size: int
    reason: str


def search_bound(
    *,
    max_batch: int | None,
    predicted: int,
    largest_tensor_bytes_per_sample: float,
    batch_bytes_per_sample: float,
    host_bytes: int | None,
) -> SearchLimit:
    """Returns the least of the caller's bound, this host's RAM, the index limit and BOUND.

    `host_bytes` is None where no batch is made on this host.
    """
    bounds = [SearchLimit(batch_size=BOUND, reason=f"no batch beyond {BOUND} is tried")]
    if largest_tensor_bytes_per_sample > 0:
        elements = largest_tensor_bytes_per_sample / _LEAST_ELEMENT_BYTES
        limit = max(int(_INDEX_LIMIT / elements), predicted + 1)
        reason = "beyond it a tensor has more than 2^31 elements, which many kernels cannot count"
        bounds.append(SearchLimit(batch_size=limit, reason=reason))
    if host_bytes is not None and batch_bytes_per_sample > 0:
        limit = int(host_bytes / (_HOST_COPIES * batch_bytes_per_sample))
        reason = "beyond it the batch does not fit into this host's RAM"
        bounds.append(SearchLimit(batch_size=max(1, limit), reason=reason))
    if max_batch is not None:
        bounds.append(SearchLimit(batch_size=max_batch, reason=f"--max-batch {max_batch}"))
    return min(bounds, key=lambda bound: bound.batch_size)
