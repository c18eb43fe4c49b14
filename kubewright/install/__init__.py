"""From verified content to a running node: plan, preflight, place, start, check; and what a node is made of afterwards.

``plan`` and what it is made of are pure functions of (content, site settings, facts of the host). Only ``host`` runs programs
and knows where the root is. The closure of imports is pure Python, as that of ``verify``: a node needs nothing but Python.
"""
