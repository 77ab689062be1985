"""Everything compiled."""
