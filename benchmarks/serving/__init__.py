"""Published starts of vLLM and speeds of engines, compared with `planner serving`.

    python -m benchmarks.serving
    python -m benchmarks.serving --fit

In: measurements/vllm_kv_cache.csv, what vLLM prints at its start, a row a start. Out: the error of
each row and docs/serving-record.md. `--fit` first fits the constants of the three terms that shapes
do not give (planner/memory/serving/vllm_terms.json). measurements/serving_speed.csv has
published throughputs and times to tokens: docs/serving-speed-record.md, and with `--fit` what the
CPU of an engine adds (planner/timing/serving/speed_terms.json). Needs neither torch nor
transformers; seconds.
"""
