"""Blocks of shared ports: which machine's port may send from which ports of a shared address.

A port's first blocks are made in the transaction that binds it. `keeper` is the duty that makes up for what
changes later, and answers hosts that need more; `drafting` is what both plan with; `sharing` says which rules
a port needs blocks of; `resting` keeps blocks that were given up from being given again too soon.
"""
