"""Policy: what an image, a container, a network is, and what happens to them.

A library for the CLI and the API, which share its option types and its errors. Nothing
here prints; ``engine.Engine`` is what every function takes first.
"""
