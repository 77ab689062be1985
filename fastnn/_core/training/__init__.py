"""Losses, linear models and networks, and their epochs."""
