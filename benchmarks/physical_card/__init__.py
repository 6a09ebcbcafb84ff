"""The first hour on a physical card: predictions compared with measurements, by one command."""
