"""What holds for every event that the mapping knows, in every version, shape and privacy profile.

Each test translates rows of all events at once, also of those whose records are missing.
"""
