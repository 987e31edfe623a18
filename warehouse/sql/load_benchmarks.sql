-- benchmarks: the registry's rows (lake/benchmarks), then those that only answers in the lake know.
INSERT INTO benchmarks BY NAME
SELECT benchmark, source, metric, filter, num_fewshot, tasks, description FROM registered
UNION ALL BY NAME
SELECT benchmark, 'import' AS source FROM answered
WHERE benchmark NOT IN (SELECT benchmark FROM registered)
ORDER BY benchmark;
