-- What earlier studies published, each number once however often it was brought in: the package's own and imports.
SELECT DISTINCT * EXCLUDE (file)
FROM delivered_published
UNION ALL
SELECT *
FROM packaged_published
