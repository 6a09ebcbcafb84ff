"""Steps of an engine that serves: products by shape, times by hand, and how they grow."""

from __future__ import annotations

import pytest

from planner.catalog.served_shapes import catalog_shapes, shaped_models
from planner.config.model_shapes import ModelShapes, WeightShape
from planner.hardware.database import load_gpus, load_links
from planner.hardware.specs import GpuSpec
from planner.memory.kv_cache.facts import ServedModel, served_model
from planner.memory.serving.formats import FORMATS, PLAIN, WeightFormat
from planner.memory.serving.roles import Role, role_of
from planner.memory.serving.weights import weight_bytes
from planner.timing.rates import memory_rate
from planner.timing.serving.attention import Heads, Prompts, reading_attention, writing_attention
from planner.timing.serving.host_terms import HostTerms
from planner.timing.serving.model_products import model_products
from planner.timing.serving.operands import expert_product_time, operands_of, served_product_time
from planner.timing.serving.reduces import joined, reduce_s
from planner.timing.serving.step import ServedStep, Stepper

NO_HOST = HostTerms(step_s=0.0, request_s=0.0, layer_s=0.0, first_s=0.0)
LLAMA = "meta-llama/Llama-3.1-8B"


def model_of(name: str) -> ServedModel:
    shapes = catalog_shapes(name)
    assert isinstance(shapes, ModelShapes)
    return served_model(shapes)


def card_of(name: str) -> GpuSpec:
    return load_gpus().find(name).spec


def stepper(
    name: str = LLAMA,
    card: str = "h100",
    *,
    weights: WeightFormat = PLAIN,
    ranks: int = 1,
    host: HostTerms = NO_HOST,
    has_graphs: bool = True,
) -> Stepper:
    model, spec = model_of(name), card_of(card)
    return Stepper(
        model=model,
        weights=weights,
        ranks=ranks,
        kv_element_bytes=2,
        card=spec,
        topology=joined(spec, load_links(), ranks),
        host=host,
        products=model_products(model, weights, ranks),
        has_graphs=has_graphs,
    )


def test_the_products_of_a_llama_by_hand() -> None:
    found = {
        one.role: (one.n, one.k, one.calls) for one in model_products(model_of(LLAMA), PLAIN, 1)
    }
    assert found == {
        Role.VALUE: (4096 + 2 * 1024, 4096, 32),  # query, key and value at once
        Role.ATTENTION_OUT: (4096, 4096, 32),
        Role.UP: (2 * 14336, 4096, 32),
        Role.DOWN: (4096, 14336, 32),
        Role.HEAD: (128256, 4096, 1),
    }


def test_ranks_divide_columns_rows_and_heads() -> None:
    found = {one.role: (one.n, one.k) for one in model_products(model_of(LLAMA), PLAIN, 4)}
    assert found[Role.VALUE] == ((4096 + 2 * 1024) // 4, 4096)
    assert found[Role.DOWN] == (4096, 14336 // 4)
    assert found[Role.HEAD] == (128256 // 4, 4096)


@pytest.mark.parametrize("name", shaped_models())
def test_all_weights_of_a_forward_are_in_its_products(name: str) -> None:
    """The bytes of products are those of the weights, but embeddings, norms and images."""
    model = model_of(name)
    held = weight_bytes(model, PLAIN, 1)
    others = sum(
        (4 if tensor.dtype == "float32" else 2) * tensor.elements
        for tensor in model.tensors
        if is_no_product(tensor)
    )
    tied = not any(role_of(tensor) is Role.HEAD for tensor in model.tensors)
    expected = held - others + (2 * model.vocabulary * model.hidden_size if tied else 0)
    found = sum(one.calls * one.weight_bytes for one in model_products(model, PLAIN, 1))
    assert found == pytest.approx(expected, rel=0.02)


def is_no_product(tensor: WeightShape) -> bool:
    roles = (Role.EMBEDDING, Role.SMALL, Role.PATCHES, Role.VISION)
    return role_of(tensor) in roles or len(tensor.shape) < 2


def test_a_tied_embedding_is_the_output_layer() -> None:
    head = next(one for one in model_products(model_of("Qwen/Qwen3-0.6B"), PLAIN, 1) if one.of_last)
    assert (head.n, head.k, head.calls) == (151936, 1024, 1)


@pytest.mark.parametrize(
    ("card", "name", "bits", "dtype", "is_unpacked"),
    [
        ("h100", "16bit", 16, "bfloat16", False),
        ("t4", "16bit", 16, "float16", False),
        ("h100", "fp8", 8, "float8_e4m3fn", False),
        ("a100", "fp8", 8, "bfloat16", True),
        ("h100", "awq", 4.16, "bfloat16", True),
        ("b200", "nvfp4", 4.5, "float4_e2m1fn_x2", False),
        ("h100", "nvfp4", 4.5, "bfloat16", True),
    ],
)
def test_how_a_card_multiplies_a_format(
    card: str, name: str, bits: float, dtype: str, is_unpacked: bool
) -> None:
    found = operands_of(name, bits, card_of(card))
    assert (found.dtype, found.is_unpacked) == (dtype, is_unpacked)


def test_a_token_reads_all_weights_once() -> None:
    """15.0 GB of weights at 2.9 TB/s, and no faster than the memory is."""
    step = stepper().time(ServedStep(requests=1, context=128))
    read = sum(one.calls * one.weight_bytes for one in stepper().products)
    bare_s = read / memory_rate(card_of("h100"))
    assert bare_s < step.products_s < 1.25 * bare_s
    assert step.total_s == pytest.approx(6.48e-3, rel=0.05)  # vLLM 0.21.0, one user


def test_fewer_bits_are_read_faster_and_multiplied_no_faster() -> None:
    plain, awq = stepper(), stepper(weights=FORMATS["awq"])
    one, many = ServedStep(requests=1, context=128), ServedStep(prompts=prompts(4096))
    assert awq.time(one).products_s < 0.5 * plain.time(one).products_s
    assert awq.time(many).products_s > plain.time(many).products_s


def prompts(tokens: int, past: int = 0, sequences: int = 1) -> Prompts:
    return Prompts(sequences=sequences, tokens=tokens, past=past)


def test_a_token_takes_few_experts_and_many_tokens_take_all() -> None:
    model, card = model_of("Qwen/Qwen3-30B-A3B"), card_of("h100")
    wide = next(one for one in model_products(model, PLAIN, 1) if one.role is Role.EXPERT_UP)
    assert (wide.experts, wide.n, wide.k) == (128, 2 * 768, 2048)
    one = expert_product_time(wide, 1, 8, "16bit", card).seconds
    all_of_them = expert_product_time(wide, 256, 8, "16bit", card).seconds
    assert 8 < all_of_them / one < 16  # 128 experts in place of 8, better filled
    whole_s = wide.weight_bytes / memory_rate(card)
    assert whole_s < all_of_them < 1.6 * whole_s


def test_attention_of_a_token_reads_its_cache() -> None:
    layer = model_of(LLAMA).layers[0]
    card, heads = card_of("h100"), Heads(queries=32, ranks=1, element_bytes=2)
    short, long = (writing_attention(layer, 64, 4096 * n, heads, card).seconds for n in (1, 2))
    moved = 64 * 4096 * 2 * 8 * 128 * 2
    assert long - short == pytest.approx(moved / card.memory_bandwidth_bytes_per_s, rel=0.3)
    half = Heads(queries=32, ranks=1, element_bytes=1)
    assert writing_attention(layer, 64, 8192, half, card).seconds == pytest.approx(short)


def test_a_later_chunk_of_a_prompt_looks_back() -> None:
    layer = model_of(LLAMA).layers[0]
    card, heads = card_of("h100"), Heads(queries=32, ranks=1, element_bytes=2)
    first = reading_attention(layer, prompts(2048), heads, card).seconds
    later = reading_attention(layer, prompts(2048, past=6144), heads, card).seconds
    assert 4 < later / first < 9  # half of 1 x 1, and 1 x 3 more: seven times the pairs


def test_states_do_not_grow_with_the_context() -> None:
    model = model_of("Qwen/Qwen3-Next-80B-A3B-Instruct")
    state = next(layer for layer in model.layers if layer.state is not None)
    heads = Heads(queries=16, ranks=1, element_bytes=2)
    times = [writing_attention(state, 8, n, heads, card_of("h200")).seconds for n in (100, 10_000)]
    assert times[0] == times[1]


def test_messages_of_ranks_are_those_that_were_measured() -> None:
    """vLLM 0.24.0 on H100s: 2 MiB take 12.4, 18.6 and 19.4 us over 2, 4 and 8 cards."""
    card, links = card_of("h100"), load_links()
    for ranks, published_s in ((2, 12.4e-6), (4, 18.6e-6), (8, 19.4e-6)):
        found = reduce_s(2 << 20, ranks, card, joined(card, links, ranks))
        assert found == pytest.approx(published_s, rel=0.05)
    assert reduce_s(1 << 20, 1, card, None) == 0
    l40s = card_of("l40s")
    assert reduce_s(1 << 20, 4, l40s, joined(l40s, links, 4)) > 50e-6


def test_the_host_counts_for_steps_without_graphs() -> None:
    host = HostTerms(step_s=1e-3, request_s=1e-5, layer_s=1e-3, first_s=0.0)
    step = ServedStep(requests=2, context=100)
    bare, with_host = stepper().time(step), stepper(host=host).time(step)
    assert with_host.total_s - bare.total_s == pytest.approx(1e-3 + 2e-5)
    eager = stepper(host=host, has_graphs=False).time(step)
    assert eager.total_s == pytest.approx(32e-3 + 1e-3 + 2e-5)  # 32 layers of 1 ms


def test_an_unmeasured_card_has_a_wider_spread() -> None:
    step = ServedStep(requests=8, context=500)
    assert stepper(card="t4").time(step).spread > stepper().time(step).spread


def test_a_product_without_rows_is_none() -> None:
    product = stepper().products[0]
    with_one = served_product_time(product, 1, "16bit", card_of("h100"))
    assert with_one.seconds == served_product_time(product, 0.4, "16bit", card_of("h100")).seconds
