"""One run: launch it, watch it, end it in time, and make rows of the files that it left."""
