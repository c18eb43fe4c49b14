"""What people ask about a project, answered without doing anything: ``why``, ``status``, ``graph``, ``plan``.

Each module has a function that collects facts into frozen dataclasses, and pure functions that turn these into text or JSON.
"""
