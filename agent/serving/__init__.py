"""Commands that stay open: tools for other agents (`mcp`), runs for an editor (`acp`) and for a tree that changes
(`watching`).

`child` runs other `agent` commands in processes of their own, so that a server stays responsive and can end a run.
"""
