"""Charts, tables, queries and wording that pages and terminal share."""
