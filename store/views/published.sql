-- What earlier studies published, each number once however often it was brought in.
SELECT DISTINCT * EXCLUDE (file)
FROM delivered_published
