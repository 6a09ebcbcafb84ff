"""Memory of a rank while a job on several GPUs saves and loads its whole state.

In: nothing. Out: a record, sent by the child as JSON. Sizes in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FullStateCounts:
    """Figures of torch.distributed.checkpoint.state_dict with full_state_dict=True.

    Figures of saving are beyond what is on the card after a step, those of loading beyond the
    model as it was built.
    """

    is_divided: bool
    """Whether ranks hold parts of the model; else each holds, saves and loads all of it."""
    model_bytes: int
    """The state of the whole model: what rank 0 holds in RAM to save or load it."""
    optimizer_bytes: int | None
    """The state of the whole optimizer; None: there is none, or PyTorch could not
    gather it."""
    built_bytes: int
    """The model of this rank on the card, before it has an optimizer."""
    saving_bytes: int
    """With cpu_offload=True: model and optimizer go to RAM tensor by tensor."""
    saving_on_card_bytes: int
    """Without it, of the model: it is whole on each card."""
    saving_all_on_card_bytes: int | None
    """Without it, of model and optimizer; None: as `optimizer_bytes`."""
    loading_bytes: int
    """With broadcast_from_rank0=True: rank 0 has the whole model in RAM, and the others get it
    tensor by tensor."""
    loading_each_bytes: int
    """Without it: each rank has the whole model in RAM, and takes its part. The same as
    `loading_bytes` where the model is not divided."""
