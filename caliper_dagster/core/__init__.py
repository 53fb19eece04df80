"""Words that all parts share; imports nothing else of this package."""
