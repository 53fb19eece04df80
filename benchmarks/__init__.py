"""Measurements, one command each; they print ratios within one run."""
