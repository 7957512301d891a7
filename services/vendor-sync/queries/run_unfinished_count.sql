-- How many runs are not finished, for the metric.
SELECT count(*) FROM run WHERE state = 'APPLYING'
