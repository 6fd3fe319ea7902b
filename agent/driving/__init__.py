"""The lane in which the model drives: it takes turns with a few tools, each rollout in its own fork."""
