"""The disk cache: what depends on a network alone is computed once and then read from disk.

`folder.py` says where it lies and when it is used, `entries.py` reads and writes its entries, and
`environment.py` states what every key holds about this machine and the installed versions.
"""
