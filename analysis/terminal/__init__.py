"""What the terminal shows: reports, comparisons, trends and their reasons."""
