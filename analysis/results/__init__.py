"""Everything that the pages of one store need, computed once."""
