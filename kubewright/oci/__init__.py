"""OCI images and artifacts, byte for byte our own: what is written needs no daemon, what is read is believed in nothing.

Two specifications: https://github.com/opencontainers/image-spec (manifest.md, config.md, layer.md, image-layout.md). Only the
standard library and the layers below are imported: the verifier reads layouts with this.
"""
