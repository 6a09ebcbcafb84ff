"""The results for a caller: frozen records and their JSON form."""
