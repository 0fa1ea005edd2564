"""What the Python runners share; README.md says which file holds what."""
