-- Every result of the gate that was ever stored.
SELECT DISTINCT * EXCLUDE (file)
FROM delivered_gates
