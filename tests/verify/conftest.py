"""Puts this folder on the import path, so that the tests find setbuilder and tamper_cases."""
