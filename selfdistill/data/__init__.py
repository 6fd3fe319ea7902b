"""The prompts, samples and dataset of a round."""
