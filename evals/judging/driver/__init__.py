"""The part of the judge that runs inside the sandbox, sent there as code; it imports nothing of ours but itself."""
