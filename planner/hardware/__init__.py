"""Cards, processors and hosts as data, and the YAML database behind them."""
