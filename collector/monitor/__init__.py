"""`deadheat monitor`: watch any process tree, show it, write it and draw it."""
