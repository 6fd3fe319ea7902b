"""From what a model wrote to a changed file, or to a refusal that it can act on."""
