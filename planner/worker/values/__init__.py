"""Values on a card that computes nothing: what the host sent is kept, what kernels made is drawn.

twins.py      a known storage and the host storage that stands for it
drawing.py    numbers for what is not known, where it is ranked, compared or read
rules.py      what is known of an operator: what it writes, what it needs, what it reads inside
operators.py  known tensors in, known tensors out: an operator run on the host
mode.py       the dispatch mode of a values pass, which ties these together
answers.py    what one copy from the card brings
reader.py     answers the device's copies to the host, in each of the three passes
launches.py   tensors given to kernels that torch's dispatcher does not see
"""
