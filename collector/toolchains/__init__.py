"""Julia, Elixir and compiled runners without touching the system: unpacked, found or built."""
