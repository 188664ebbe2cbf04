"""The command line: `onehop NOUN VERB`, and whole topologies with `onehop apply`.

Nouns and their flags come from the model's declarations, by way of `nouns.json` (see `describe`). Nothing is
imported before it is needed: `spec` says what commands there are, `parser` reads arguments, `entry` runs
the one function that is asked for.
"""

from __future__ import annotations


def main() -> None:
    """The `onehop` executable."""
    import sys

    from onehop.cli.entry import run

    sys.exit(run(sys.argv[1:]))
