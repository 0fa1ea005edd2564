"""The claims of earlier studies: what follows from their own numbers, and what cannot be."""
