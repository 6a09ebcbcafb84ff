"""Matrix products: tables of cards and precisions, the fit of their nets, how it is judged."""
