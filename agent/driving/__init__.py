"""The lane in which the model drives: it takes turns with a few tools, each rollout in its own fork."""

from forklock.agent.driving.open import open_lane as open_lane
