"""Model file of PEFT's comparison on MetaMathQA: Llama-3.2-3B with one adapter, as it was trained.

This file repeats the measuring script: the weights are loaded onto the card in bfloat16, into one
block that transformers reserves for them; the adapter is added there, its weights in float32; a
step is zero_grad, forward, backward, clipping and optimizer, and the names of the last step hold
its output until the next forward returns. Batches are sorted by length, longest first, in buckets
of 20, and the cache is emptied every 10 steps. So three steps stand for a run: the first of a
bucket, in which the states of the optimizer are made; the last of it; and the longest of all, which
comes right after a short one and after the cache was emptied. The longest is taken to have four
rows of 768 tokens, to which longer ones were cut. Its attention mask would be all ones, which
transformers drops; it is left out, because looking at it would make the run twice as long.
Evaluation is not run. Source of the procedure:
https://github.com/huggingface/peft, method_comparison/MetaMathQA/run.py and utils.py at 5d602fd.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import AdaLoraConfig, AdamssConfig, PeftConfig, PeftModel, get_peft_model
from peft.optimizers import create_lorafa_optimizer
from peft.tuners.boft import layer as boft_layer
from torch import Tensor, nn

ADAPTERS = Path(__file__).resolve().parents[2] / "measurements" / "peft_metamath_adapters.json"
LONGEST_TOKENS = 768
# Tokens of a row, by step. Samples have 212 tokens in the mean (published tokens a second and
# seconds), so the longest four of a bucket of 80 have about 512 and the shortest about 64.
STEP_TOKENS = (512, 64, LONGEST_TOKENS)

# BOFT's own CUDA code does not compile with this torch; peft does without it then.
boft_layer.get_fbd_cuda = lambda: None

_run: dict[str, Any] = {}  # the experiment, the number of the step, and names of the last step


def build_model(name: str, experiment: str) -> nn.Module:
    """Builds the network on the card and adds the adapter of an experiment to it."""
    case = json.loads(ADAPTERS.read_text(encoding="utf-8"))[experiment]
    _run.update(case=case, step=0)
    network = loaded(llama_3b())
    if "adapter" not in case:
        return network.train()
    config = PeftConfig.from_peft_type(**case["adapter"])
    _run["config"] = config
    with torch.device("cpu"):  # as in the script: peft moves what it makes to the card
        adapted = get_peft_model(
            network, config, autocast_adapter_dtype=case.get("autocast_adapter_dtype", True)
        )
    return _module(adapted).train()


def build_batch(batch_size: int) -> Tensor:
    """Draws token ids, (batch, 768)."""
    return torch.randint(0, 128_000, (batch_size, LONGEST_TOKENS))


def build_optimizer(parameters: list[nn.Parameter], model: nn.Module) -> torch.optim.Optimizer:
    """Builds AdamW on all parameters, or the optimizer of the experiment.

    Then the script computes a loss with the adapter switched off. Switching it on again lets all
    its weights be trained, also those that LoRA-FA has just frozen.
    """
    case = _run["case"]
    if case["optimizer"] == "lora-fa":
        built = create_lorafa_optimizer(model, **case["optimizer_arguments"])
    else:
        assert case["optimizer"] == "AdamW"
        built = torch.optim.AdamW(parameters, **case["optimizer_arguments"])
    if isinstance(model, PeftModel):
        with model.disable_adapter():
            pass
    assert isinstance(built, torch.optim.Optimizer)
    return built


def training_step(model: nn.Module, batch: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Does one step of the script, with the length that this step has in it."""
    tokens = STEP_TOKENS[_run["step"] % len(STEP_TOKENS)]
    if tokens == LONGEST_TOKENS:
        torch.cuda.empty_cache()
    _run["step"] += 1
    _run["ids"] = ids = batch[:, :tokens].clone()
    _run["labels"] = labels = ids.clone()
    optimizer.zero_grad()
    _run["outputs"] = model(input_ids=ids, labels=labels, num_items_in_batch=ids.numel())
    _run["loss"] = _run["outputs"].loss
    _run["loss"].backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    if isinstance(_run.get("config"), (AdaLoraConfig, AdamssConfig)):
        wrapped: Any = model
        wrapped.base_model.update_and_allocate(_run["step"])


def llama_3b() -> transformers.LlamaConfig:
    """Llama-3.2-3B, 3,212,749,824 parameters: https://arxiv.org/abs/2407.21783."""
    return transformers.LlamaConfig(
        vocab_size=128256,
        hidden_size=3072,
        intermediate_size=8192,
        num_hidden_layers=28,
        num_attention_heads=24,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=131072,
        rms_norm_eps=1e-5,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 500_000.0,
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
        tie_word_embeddings=True,
        pad_token_id=128001,
        bos_token_id=128000,
        eos_token_id=128001,
    )


def loaded(config: transformers.LlamaConfig) -> nn.Module:
    """Builds the network as `from_pretrained(device_map="cuda")` does: in one reserved block."""
    device = torch.get_default_device()
    with torch.device("meta"):
        network = _module(
            transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        )
    placed: dict[nn.Parameter, nn.Parameter] = {}
    size_bytes = sum(one.numel() * one.element_size() for one in network.parameters())
    torch.empty(size_bytes, dtype=torch.uint8, device=device)  # freed at once: a block for all
    for module in network.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                if weight not in placed:
                    placed[weight] = nn.Parameter(torch.empty_like(weight, device=device))
                module._parameters[name] = placed[weight]
    network.model.rotary_emb = type(network.model.rotary_emb)(config, device=device)
    return network


def _module(built: Any) -> nn.Module:
    """Returns the network with its type: the libraries are not typed."""
    assert isinstance(built, nn.Module)
    return built
