"""DCGAN 64 x 64 as everybody writes it: two networks, two optimizers, the discriminator first."""

import torch
from torch import nn
from torch.nn import functional as F


class Generator(nn.Module):
    def __init__(self, z=100, f=64):
        super().__init__()
        sizes = [(z, f * 8, 1, 0), (f * 8, f * 4, 2, 1), (f * 4, f * 2, 2, 1), (f * 2, f, 2, 1)]
        layers = []
        for a, b, stride, padding in sizes:
            layers += [
                nn.ConvTranspose2d(a, b, 4, stride, padding, bias=False),
                nn.BatchNorm2d(b),
                nn.ReLU(True),
            ]
        self.main = nn.Sequential(*layers, nn.ConvTranspose2d(f, 3, 4, 2, 1, bias=False), nn.Tanh())

    def forward(self, z):
        return self.main(z)


class Discriminator(nn.Module):
    def __init__(self, f=64):
        super().__init__()
        layers = [nn.Conv2d(3, f, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, True)]
        for a, b in [(f, f * 2), (f * 2, f * 4), (f * 4, f * 8)]:
            layers += [
                nn.Conv2d(a, b, 4, 2, 1, bias=False),
                nn.BatchNorm2d(b),
                nn.LeakyReLU(0.2, True),
            ]
        self.main = nn.Sequential(*layers, nn.Conv2d(f * 8, 1, 4, 1, 0, bias=False))

    def forward(self, x):
        return self.main(x).view(-1)


def build_model() -> nn.Module:
    return nn.ModuleDict({"generator": Generator(), "discriminator": Discriminator()})


def build_batch(batch_size: int):
    return torch.randn(batch_size, 3, 64, 64), torch.randn(batch_size, 100, 1, 1)


OPTIMISERS = {}


def training_step(model, batch):
    real, noise = batch
    generator, discriminator = model["generator"], model["discriminator"]
    if "d" not in OPTIMISERS:
        OPTIMISERS["d"] = torch.optim.Adam(discriminator.parameters(), 2e-4, (0.5, 0.999))
    OPTIMISERS["d"].zero_grad()
    fake = generator(noise)
    ones, zeros = (
        torch.ones(len(real), device=real.device),
        torch.zeros(len(real), device=real.device),
    )
    F.binary_cross_entropy_with_logits(discriminator(real), ones).backward()
    F.binary_cross_entropy_with_logits(discriminator(fake.detach()), zeros).backward()
    OPTIMISERS["d"].step()
    return F.binary_cross_entropy_with_logits(discriminator(fake), ones)


def build_optimizer(parameters):
    return torch.optim.Adam(parameters, 2e-4, (0.5, 0.999))
