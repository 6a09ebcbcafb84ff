"""The first hour on a physical card: what is predicted against what is measured, by one command."""
