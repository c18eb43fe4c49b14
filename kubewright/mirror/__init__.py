"""A mirror: a folder from which everything can be rebuilt with no network (docs/mirror.md)."""
