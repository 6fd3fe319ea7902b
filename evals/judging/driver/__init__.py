"""The part of the judge that runs inside the sandbox; it is sent there as code and imports nothing of ours but
itself."""
