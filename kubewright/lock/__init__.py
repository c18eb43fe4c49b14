"""Resolve versions to pins, and write them down."""
