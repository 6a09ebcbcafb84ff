"""How results are shown. Nothing here prints."""
