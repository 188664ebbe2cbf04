"""From the topology to what the tables of a host should hold: pure, and incremental.

Read `compile` first, which declares the order of computing; then the stages, a file each; then `unit` and
`incremental`, which compute again only what a change concerns. `difference` says what has to be written.
It shares the model and the vocabulary with `simulation`, and no logic.
"""
