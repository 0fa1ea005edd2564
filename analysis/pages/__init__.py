"""Every page of the site as text, from results alone."""
