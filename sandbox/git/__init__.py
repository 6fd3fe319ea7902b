"""Git without trust: what a repository holds is read here, and the one module that runs git is here."""
