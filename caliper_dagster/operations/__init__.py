"""What an operator does, without argument parsing."""
