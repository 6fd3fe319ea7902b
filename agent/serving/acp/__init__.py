"""The agent in an editor, over the Agent Client Protocol.

`prompt` reads what the editor sends, `story` turns the events of a run into the protocol's updates, `conversation` runs
`agent` commands for a session and asks for permission, `kept` keeps sessions, and `server` speaks the protocol with the
official SDK (the `acp` distribution, which this package does not shadow, since imports are absolute).
"""
