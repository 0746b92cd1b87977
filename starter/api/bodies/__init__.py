"""JSON as it comes in over HTTP, a module a concern: strict, trimmed, turned into the domain's words.

Unknown fields are refused, so that a misspelt one is not silently without effect.
"""
