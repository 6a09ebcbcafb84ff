"""Two-layer LSTM language model for the Penn Treebank, sequence 35: 19,780,400 parameters.

Embedding, LSTM of 650 units with dropout 0.5, untied decoder: the "medium" model.
Source: Zaremba, Sutskever, Vinyals 2014, https://arxiv.org/abs/1409.2329
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

VOCABULARY = 10_000
SEQUENCE = 35
DROPOUT = 0.5


class LanguageModel(nn.Module):
    """Token ids (batch, tokens) to logits (batch, tokens, vocabulary), from a zero state."""

    def __init__(self, units: int, depth: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, units)
        self.lstm = nn.LSTM(units, units, depth, batch_first=True, dropout=DROPOUT)
        self.decoder = nn.Linear(units, VOCABULARY)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, ids: Tensor) -> Tensor:
        outputs, _ = self.lstm(self.dropout(self.tokens(ids)))
        return self.decoder(self.dropout(outputs))


def build_model(units: int = 650, depth: int = 2) -> nn.Module:
    """The medium model; `units=1500` gives the large one, 66,034,000 parameters."""
    return LanguageModel(units, depth)


def build_batch(batch_size: int, sequence_length: int = SEQUENCE) -> Tensor:
    """Token ids, (batch, sequence_length)."""
    return torch.randint(0, VOCABULARY, (batch_size, sequence_length))


def training_step(model: nn.Module, batch: Tensor) -> Tensor:
    """Cross-entropy of the next token; the last position has none."""
    labels = functional.pad(batch[:, 1:], (0, 1), value=-100)
    return functional.cross_entropy(model(batch).flatten(0, 1), labels.flatten(), ignore_index=-100)
