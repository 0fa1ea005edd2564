"""The only writer of the site: pages, charts, downloads, mkdocs and the local server."""
