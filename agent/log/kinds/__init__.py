"""Kinds of events, below the list of them all (`forklock.agent.log.schema`)."""
