"""The verbs of magics and command line: one click tree, one launch line, one way to watch."""
