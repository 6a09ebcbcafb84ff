"""Values on a card that computes nothing: the host's are kept, those of kernels are drawn.

twins.py      a known storage and the host storage with its values
drawing.py    numbers for unknown values that are ranked, compared or read
rules.py      rules of an operator: the values that it writes, needs and reads
operators.py  known tensors in, known tensors out: an operator run on the host
mode.py       the dispatch mode of a values pass, which connects these
answers.py    the bytes of one copy from the card
reader.py     answers the device's copies to the host, in each of the three passes
launches.py   tensors given to kernels that torch's dispatcher does not see
"""
