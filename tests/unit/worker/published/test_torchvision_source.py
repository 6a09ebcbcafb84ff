"""Models of torchvision as targets, built for real on the CPU."""

from __future__ import annotations

import pytest
import torch

from planner.config.published import Library, PublishedModel, Task, TaskConfig
from planner.config.target import Target, TargetKind
from planner.errors import UsageError, WrongTargetError
from planner.worker.published.torchvision_source import torchvision_source
from planner.worker.target.source import ModelSource


def source(name: str, dtype: str | None = None, **task: object) -> ModelSource:
    model = PublishedModel(
        library=Library.TORCHVISION,
        name=name,
        dtype=dtype,
        task=TaskConfig(**task),  # type: ignore[arg-type]
    )
    target = Target(kind=TargetKind.LIBRARY, location=f"torchvision:{name}", published=model)
    return torchvision_source(target, model)


def test_a_step_of_a_classifier_has_gradients() -> None:
    found = source("resnet18", image=(64, 32))
    model = found.build_model()
    assert found.build_batch is not None
    assert found.training_step is not None
    images, classes = found.build_batch(2)
    assert (tuple(images.shape), tuple(classes.shape)) == ((2, 3, 64, 32), (2,))
    found.training_step(model, (images, classes)).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert sum(parameter.numel() for parameter in model.parameters()) == 11_689_512


def test_the_weights_have_the_dtype_of_the_precision() -> None:
    found = source("resnet18", dtype="bfloat16")
    assert found.settles_dtypes
    assert {one.dtype for one in found.build_model().parameters()} == {torch.bfloat16}
    assert found.build_batch is not None
    assert found.build_batch(1)[0].dtype is torch.bfloat16


def test_embed_is_the_model_without_its_head() -> None:
    found = source("resnet18", task=Task.EMBED)
    assert found.build_batch is not None
    with torch.inference_mode():
        assert found.build_model().eval()(found.build_batch(2)).shape == (2, 512)


def test_frozen_parameters_do_not_train() -> None:
    model = source("resnet18", freeze=("conv1.*", "layer1")).build_model()
    frozen = {name for name, one in model.named_parameters() if not one.requires_grad}
    assert "conv1.weight" in frozen
    assert "layer1.0.conv1.weight" in frozen
    assert "layer2.0.conv1.weight" not in frozen
    with pytest.raises(UsageError, match=r"--freeze nothing\.\*: no parameter"):
        source("resnet18", freeze=("nothing.*",)).build_model()


def test_the_image_is_that_of_the_published_weights() -> None:
    found = source("inception_v3")
    assert found.build_batch is not None
    assert found.build_batch(1)[0].shape == (1, 3, 299, 299) or "299" in str(found.assumptions)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnet1", "did you mean torchvision:resnet18"),
        ("fasterrcnn_resnet50_fpn", "is a model for detection"),
    ],
)
def test_models_that_cannot_be_taken(name: str, says: str) -> None:
    with pytest.raises(WrongTargetError, match=says):
        source(name)
