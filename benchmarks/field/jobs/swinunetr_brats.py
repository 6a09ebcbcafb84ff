import torch
from monai.losses import DiceLoss
from monai.networks.nets import SwinUNETR
from torch import nn


def build_model(feature_size: int = 24, checkpoint: bool = False) -> nn.Module:
    return SwinUNETR(
        in_channels=4,
        out_channels=3,
        feature_size=feature_size,
        drop_rate=0.0,
        attn_drop_rate=0.0,
        dropout_path_rate=0.0,
        spatial_dims=3,
        use_checkpoint=checkpoint,
        use_v2=False,
    )


def build_batch(batch_size: int):
    return torch.randn(batch_size, 4, 128, 128, 128), torch.randint(
        0, 2, (batch_size, 3, 128, 128, 128)
    ).float()


def training_step(model, batch):
    images, labels = batch
    return DiceLoss(to_onehot_y=False, sigmoid=True)(model(images), labels)
