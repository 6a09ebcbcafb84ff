"""Published starts of vLLM, compared with `planner serving`.

    python -m benchmarks.serving
    python -m benchmarks.serving --fit

In: measurements/vllm_kv_cache.csv, what vLLM prints at its start, a row a start. Out: the error of
each row and docs/serving-record.md. `--fit` first fits the constants of the three terms that shapes
do not give (planner/memory/serving/vllm_terms.json). Needs neither torch nor transformers; seconds.
"""
