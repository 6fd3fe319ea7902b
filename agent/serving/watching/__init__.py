"""Watches a repository: when files change and the check fails, a run proposes a change, and the tree stays as it is.

`changes` says when files have changed, `check` runs the check on a copy, `loop` puts both and the runs together.
"""
