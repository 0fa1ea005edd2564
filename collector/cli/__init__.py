"""The commands of the collector and what they show."""
