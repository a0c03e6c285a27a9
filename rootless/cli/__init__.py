"""The command line: parse, call the engine, print; no policy.

::

    __main__ ──> fastpath ── well-formed argv ──────────────┐
                    │                                       ├──> commands/VERB.execute ──> actions ──> engine
                    └─ help, mistakes ──> main (click) ─────┘

Both ways use the grammar of ``parser`` and the tables in ``commands``, so they cannot disagree.
"""
