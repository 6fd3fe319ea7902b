"""What becomes of a candidate: the hops it goes through, the wide step, and the baseline it is compared with."""
