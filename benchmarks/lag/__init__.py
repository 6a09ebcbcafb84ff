"""How far a card is behind the host, chosen and judged by published peaks of FSDP."""
