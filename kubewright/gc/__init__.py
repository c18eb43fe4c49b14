"""Shrink the store to what the lock needs; clean artifacts."""
