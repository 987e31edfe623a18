-- models: the registry's rows (lake/models), then imported models with the labels that came with an import.
INSERT INTO models BY NAME
SELECT model, family, size_b, communities, backend, source, price_input, price_output FROM registered
UNION ALL BY NAME
SELECT model, any_value(family) AS family, any_value(size_b) AS size_b,
    any_value(communities) AS communities, 'import' AS source
FROM answered
LEFT JOIN labels USING (model)
WHERE model NOT IN (SELECT model FROM registered)
GROUP BY model
ORDER BY model;
