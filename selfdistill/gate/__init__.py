"""Decides whether a candidate is promoted: the rule, the measurement, gauges and probes."""
