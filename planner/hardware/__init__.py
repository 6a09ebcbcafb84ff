"""Cards as data: records (`specs`), the YAML database behind them (`database`)."""
