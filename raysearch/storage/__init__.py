"""Storage: what is on disk of a search, and nothing that decides.

Contract: the journal of events is the truth, fsynced line by line; tables, measurements and weights are made from it or
kept beside it, in the run directory, and appear whole.
"""
