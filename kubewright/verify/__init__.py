"""Who says what about which bytes, and whether a policy is satisfied with that. Pure Python all the way down.

Nothing here reads a key, a root or a policy from what is being verified, and nothing here knows a network. The closure of
its imports is the standard library, ``ecdsa``, ``six`` and ``tomli``: so that one file runs on any node (``pyz``).
"""
