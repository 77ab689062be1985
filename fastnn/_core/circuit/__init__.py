"""Expressions of scalars: units, and the tape that they are laid out on."""
