"""Bundles: everything that a stack needs, signed, as one OCI layout (docs/bundle.md). Verifying one is ``verify``'s."""
