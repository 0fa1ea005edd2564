"""The page of earlier studies."""
