"""Manifests of upstream with every image named by a digest of ours: see docs/manifests.md.

A bundle uses ``counterparts.counterparts`` and ``rewriting.rewrite``. Only the spans of the text that name images (and pull
policies) are changed.
"""
