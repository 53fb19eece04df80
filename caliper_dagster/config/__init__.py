"""Settings: from environment and files to checked values, once."""
