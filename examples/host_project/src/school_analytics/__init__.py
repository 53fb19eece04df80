"""The data team of a school."""
