"""Searches: all pairs, by bounds, by a tree; distances of all pairs; the vote of the neighbors."""
