"""From a suite's file to cells, heats and their order; the types that the files are read into."""
