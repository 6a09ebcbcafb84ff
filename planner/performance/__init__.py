"""How fast a step is: roofline of the card, the input pipeline of the host, and what it costs."""
