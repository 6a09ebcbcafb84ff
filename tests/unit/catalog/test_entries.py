"""The shipped models: complete, each name once, and as many parameters as arithmetic gives."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.catalog.catalog import all_models
from planner.catalog.records import BUILT, CatalogModel, Library

ROOT = Path(__file__).resolve().parents[3]
MODELS = all_models()
SHAPES: dict[str, Callable[[dict[str, Any]], int]] = {}
Config = dict[str, Any]
Formula = Callable[[Config], int]


def of_types(*names: str) -> Callable[[Formula], Formula]:
    """Registers a formula for these values of model_type."""

    def kept(formula: Formula) -> Formula:
        SHAPES.update(dict.fromkeys(names, formula))
        return formula

    return kept


def gated(config: Config, *, norms: int = 2, in_attention: int = 0, tied: bool = False) -> int:
    """A decoder of Llama's kind: four products without a bias, a gated MLP, RMS norms.

    `norms` are those of the width in a layer, `in_attention` is what else attention has.
    """
    width, heads = config["hidden_size"], config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads", heads)
    size = config.get("head_dim") or width // heads
    attention = 2 * width * heads * size + 2 * width * kv_heads * size + in_attention
    experts = config.get("num_local_experts") or config.get("num_experts") or 0
    inner = config.get("moe_intermediate_size") or config["intermediate_size"]
    mlp = 3 * width * inner * (experts or 1) + width * experts
    layer = attention + mlp + norms * width
    tables = 1 if config.get("tie_word_embeddings", tied) else 2
    return tables * config["vocab_size"] * width + config["num_hidden_layers"] * layer + width


def with_biases(config: Config, *, width: int, layers: int, tables: int) -> int:
    """A decoder of GPT-2's kind: 12 d^2 weights, 9 d of biases and 4 d of two norms in a layer."""
    layer = 12 * width**2 + 13 * width
    return tables * config["vocab_size"] * width + layers * layer + 2 * width


@of_types("llama", "mistral", "mixtral", "phi3")
def _llama(config: Config) -> int:
    return gated(config)


@of_types("qwen2")
def _qwen2(config: Config) -> int:
    size = config["hidden_size"] // config["num_attention_heads"]
    heads = config["num_attention_heads"] + 2 * config["num_key_value_heads"]
    return gated(config, in_attention=heads * size)  # biases of q, k, v


@of_types("qwen3", "qwen3_moe")
def _qwen3(config: Config) -> int:
    return gated(config, in_attention=2 * config["head_dim"])  # norms of q and k


@of_types("olmo2")
def _olmo2(config: Config) -> int:
    size = config["hidden_size"] // config["num_attention_heads"]
    heads = config["num_attention_heads"] + config["num_key_value_heads"]
    return gated(config, in_attention=heads * size)  # norms of all of q and of all of k


@of_types("gemma")
def _gemma(config: Config) -> int:
    return gated(config, tied=True)


@of_types("gemma2")
def _gemma2(config: Config) -> int:
    return gated(config, norms=4, tied=True)


@of_types("gemma3_text")
def _gemma3(config: Config) -> int:
    return gated(config, norms=4, in_attention=2 * config["head_dim"], tied=True)


@of_types("gpt2")
def _gpt2(config: Config) -> int:
    width = config["n_embd"]
    return config["n_positions"] * width + with_biases(
        config, width=width, layers=config["n_layer"], tables=1
    )


@of_types("gpt_neox")
def _gpt_neox(config: Config) -> int:
    return with_biases(
        config, width=config["hidden_size"], layers=config["num_hidden_layers"], tables=2
    )


@of_types("opt")
def _opt(config: Config) -> int:
    width = config["hidden_size"]
    positions = (config["max_position_embeddings"] + 2) * width  # the first two are not used
    return positions + with_biases(
        config, width=width, layers=config["num_hidden_layers"], tables=1
    )


@of_types("bloom")
def _bloom(config: Config) -> int:
    width = config["hidden_size"]
    return 2 * width + with_biases(config, width=width, layers=config["n_layer"], tables=1)


@of_types("falcon")
def _falcon(config: Config) -> int:
    """One head of keys and of values, one norm for attention and MLP, no bias."""
    width, size = config["hidden_size"], config["hidden_size"] // config["num_attention_heads"]
    layer = 2 * width**2 + 2 * width * size + 8 * width**2 + 2 * width
    return config["vocab_size"] * width + config["num_hidden_layers"] * layer + 2 * width


@of_types("phi")
def _phi(config: Config) -> int:
    """One norm for attention and MLP; the output has a bias."""
    width = config["hidden_size"]
    layer = 12 * width**2 + 11 * width
    tables = 2 * config["vocab_size"] * width + config["vocab_size"]
    return tables + config["num_hidden_layers"] * layer + 2 * width


@of_types("gptj")
def _gptj(config: Config) -> int:
    """One norm for attention and MLP, no bias in attention; the output has one."""
    width = config["n_embd"]
    layer = 12 * width**2 + 7 * width
    tables = 2 * config["vocab_size"] * width + config["vocab_size"]
    return tables + config["n_layer"] * layer + 2 * width


@of_types("cohere")
def _cohere(config: Config) -> int:
    return gated(config, norms=1, tied=True)  # one norm for attention and MLP


@of_types("stablelm")
def _stablelm(config: Config) -> int:
    width, heads = config["hidden_size"], config["num_attention_heads"]
    biases = (heads + 2 * config["num_key_value_heads"]) * width // heads
    return gated(config, norms=4, in_attention=biases) + width  # norms have biases


@of_types("starcoder2")
def _starcoder2(config: Config) -> int:
    width, inner = config["hidden_size"], config["intermediate_size"]
    kv = config["num_key_value_heads"] * width // config["num_attention_heads"]
    attention = 2 * width**2 + 2 * width * kv + 2 * width + 2 * kv
    layer = attention + 2 * width * inner + inner + width + 4 * width
    return config["vocab_size"] * width + config["num_hidden_layers"] * layer + 2 * width


def decoders() -> list[CatalogModel]:
    """Every text model that ends in a language model's head, but for mixed layers."""
    others = {"deepseek_v2", "gpt_oss", "nemotron_h", "qwen3_next"}
    return [
        model
        for model in MODELS
        if model.model_class.endswith(("ForCausalLM", "LMHeadModel"))
        and model.config["model_type"] not in others
    ]


@pytest.mark.parametrize("model", decoders(), ids=lambda model: str(model.name))
def test_decoders_have_the_parameters_of_arithmetic(model: CatalogModel) -> None:
    assert SHAPES[model.config["model_type"]](dict(model.config)) == model.parameters


def test_the_catalog_is_as_large_as_it_claims() -> None:
    assert len(MODELS) >= 150
    assert len({model.family for model in MODELS}) >= 50
    assert sum(model.parameters_published for model in MODELS) >= 50
    assert len(decoders()) >= 75


def test_each_name_is_there_once() -> None:
    names = [name.casefold() for model in MODELS for name in model.names]
    assert len(names) == len(set(names))


def test_a_last_part_means_one_model() -> None:
    homes: dict[str, set[str]] = {}
    for model in MODELS:
        for name in model.names:
            homes.setdefault(name.rpartition("/")[2].casefold(), set()).add(model.name)
    assert {last: of for last, of in homes.items() if len(of) > 1} == {}


def test_a_file_has_the_name_of_its_family() -> None:
    files = {path.stem for path in (ROOT / "models" / "catalog").glob("*.yaml")}
    assert files == {model.family for model in MODELS}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: str(model.name))
def test_entries_are_complete(model: CatalogModel) -> None:
    assert re.search(r"https://|\(PyPI\)|arXiv:|config", model.source)
    assert model.parameters_source == BUILT or re.search(
        r"https://|\(PyPI\)|arXiv:", model.parameters_source
    )
    if model.library is Library.TRANSFORMERS:
        texts = [model.config, model.config.get("text_config", {})]
        layers = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers")
        assert any(key in config for config in texts for key in layers)
    else:
        assert "in_channels" in model.config
    left_out = {"torch_dtype", "architectures", "_class_name", "quantization_config", "auto_map"}
    assert not left_out & set(model.config)
