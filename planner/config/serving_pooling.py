"""Whether an engine gives vectors or scores in the place of text, and what does not go with that.

In: ServingConfig, whether the model is an encoder. Out: ServingConfig with its runner. Convention:
an encoder pools; another model does where it is asked for.
"""

from __future__ import annotations

from dataclasses import replace

from planner.config.serving import EngineName, Runner, ServingConfig
from planner.errors import UsageError


def with_runner(config: ServingConfig, *, is_encoder: bool) -> ServingConfig:
    """Returns the settings with the runner of this model.

    Raises:
        UsageError: an encoder that shall write, an engine or an option that does not pool, or a
            load of a text without the tokens of the answers.
    """
    runner = config.runner or (Runner.POOLING if is_encoder else Runner.GENERATE)
    if is_encoder and runner is Runner.GENERATE:
        raise UsageError(
            "runner generate (--runner) was given, and the model is a text encoder, which writes "
            "none: leave it out"
        )
    load = config.load
    if runner is Runner.GENERATE:
        if load is not None and not load.output:
            raise UsageError(
                "users and prompt were given without --output: a load of a model that writes has "
                "tokens of the answers, like --output 500; embeddings are --runner pooling"
            )
        return replace(config, runner=runner)
    if config.engine is not EngineName.VLLM:
        raise UsageError(
            f"vectors and scores (--runner pooling) of {config.engine.value} are not known here: "
            "take --engine vllm"
        )
    for name, is_given in (
        ("tpot", config.tpot_s is not None),
        ("output", load is not None and load.output > 0),
        ("speculative_tokens", config.speculative_tokens > 0),
    ):
        if is_given:
            raise UsageError(
                f"{name} (--{name.replace('_', '-')}) is for a model that writes text, and this "
                "one gives a vector or a score: leave it out"
            )
    return replace(config, runner=runner)
