"""A tagger over sentences of different length: nn.LSTM on a packed sequence, lengths in the batch."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Tagger(nn.Module):
    def __init__(
        self, words: int = 50_000, width: int = 256, hidden: int = 512, tags: int = 20
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.lstm = nn.LSTM(width, hidden, num_layers=2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * hidden, tags)

    def forward(self, ids, lengths):
        packed = pack_padded_sequence(
            self.embedding(ids), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        hidden, _ = pad_packed_sequence(
            self.lstm(packed)[0], batch_first=True, total_length=ids.shape[1]
        )
        return self.out(hidden)


def build_model() -> nn.Module:
    return Tagger()


def build_batch(batch_size: int):
    lengths = torch.linspace(40, 120, batch_size).long()
    return (
        torch.zeros(batch_size, 120, dtype=torch.long),
        lengths,
        torch.zeros(batch_size, 120, dtype=torch.long),
    )


def training_step(model, batch):
    ids, lengths, tags = batch
    return F.cross_entropy(model(ids, lengths).flatten(0, 1), tags.flatten())
