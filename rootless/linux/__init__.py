"""The kernel, as Python sees it: system calls, descriptors, namespaces, processes.

Standard library only and no policy. Functions raise ``OSError`` that names the system
call and, where there is one, the path; layers above say what was intended.
"""
