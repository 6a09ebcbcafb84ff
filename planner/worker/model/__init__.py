"""The model: built without weights, brought to the card, cast."""
