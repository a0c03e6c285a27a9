"""One verb a file.

Each module has ``USAGE`` (what follows the verb in the usage line), ``ARGUMENTS`` (least and
greatest number of positional arguments; ``None`` is no limit), ``OPTIONS`` (rows for
``cli/parser.py``), ``COMPLETES`` (what its arguments name, for shell completion) and
``execute(context, values, arguments)``, which returns the exit status.
"""
