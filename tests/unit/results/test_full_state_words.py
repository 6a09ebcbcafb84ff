"""The whole state of a job on several GPUs in words: sizes, who needs RAM, what does not fit."""

from __future__ import annotations

from dataclasses import replace

from planner.results.full_state import (
    FullState,
    loading_each_words,
    loading_words,
    on_card_words,
    ram_words,
    saving_words,
)
from planner.units import GIB

STATE = FullState(
    is_divided=True,
    model_bytes=30 * GIB,
    optimizer_bytes=60 * GIB,
    saving_bytes=17 * GIB,
    saving_on_card_bytes=45 * GIB,
    saving_all_on_card_bytes=105 * GIB,
    loading_bytes=6 * GIB,
    loading_each_bytes=9 * GIB,
    capacity_bytes=78 * GIB,
)


def test_the_usual_case() -> None:
    assert saving_words(STATE, 67 * GIB) == "17.0 GiB, below the step's peak"
    assert saving_words(STATE, 16 * GIB) == "17.0 GiB, above the step's peak"
    assert on_card_words(STATE) == "45.0 GiB; 105 GiB with the optimizer (does not fit)"
    assert ram_words(STATE) == "30.0 GiB, 90.0 GiB with the optimizer"
    assert loading_words(STATE) == "6.00 GiB, and 30.0 GiB of RAM on rank 0"
    assert loading_each_words(STATE) == "9.00 GiB, and 30.0 GiB of RAM on each rank"
    assert STATE.fits
    assert STATE.fits_on_card


def test_what_does_not_fit_is_said_once() -> None:
    small = replace(STATE, capacity_bytes=16 * GIB)
    assert saving_words(small, 10 * GIB) == "17.0 GiB, above the step's peak (does not fit)"
    assert on_card_words(small) == "45.0 GiB (does not fit); 105 GiB with the optimizer"
    assert not small.fits
    assert not small.fits_on_card
    # The usual way to load decides too.
    assert not replace(STATE, loading_bytes=79 * GIB).fits


def test_ranks_that_have_the_whole_model() -> None:
    whole = replace(STATE, is_divided=False)
    assert on_card_words(whole) == loading_each_words(whole) == ""
    assert loading_words(whole) == "6.00 GiB, and 30.0 GiB of RAM on each rank"


def test_without_a_state_of_the_optimizer() -> None:
    model = replace(STATE, optimizer_bytes=None, saving_all_on_card_bytes=None)
    assert on_card_words(model) == "45.0 GiB"
    assert ram_words(model) == "30.0 GiB"
    assert model.rank_0_bytes == 30 * GIB
