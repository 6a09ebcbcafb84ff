"""What a caller gets: frozen records and their JSON form."""
