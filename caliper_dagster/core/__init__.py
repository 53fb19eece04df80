"""What all parts share; imports nothing else of this package."""
