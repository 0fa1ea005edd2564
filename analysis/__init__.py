"""Read the store, compute findings, render the site."""
