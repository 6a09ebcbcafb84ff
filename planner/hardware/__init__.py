"""Cards, processors and hosts as data, the YAML database behind them, and this machine."""
