-- 95% Wilson score intervals: z = 1.959964.
CREATE OR REPLACE VIEW leaderboard AS
WITH counted AS (
    SELECT model, coalesce(benchmark, 'all') AS benchmark, count(*) AS n, avg(correct::DOUBLE) AS accuracy
    FROM responses
    GROUP BY GROUPING SETS ((model, benchmark), (model))
), centred AS (
    SELECT *, 1.959964 * 1.959964 / n AS zz,
        1.959964 * sqrt(accuracy * (1 - accuracy) / n + (1.959964 / (2 * n)) ** 2) AS half_width
    FROM counted
)
SELECT model, benchmark, n, accuracy,
    greatest(0, (accuracy + zz / 2 - half_width) / (1 + zz)) AS ci_low,
    least(1, (accuracy + zz / 2 + half_width) / (1 + zz)) AS ci_high
FROM centred;

CREATE OR REPLACE VIEW coverage AS
WITH answered AS (
    SELECT model, benchmark, count(*) AS n FROM responses GROUP BY ALL
), asked AS (
    SELECT benchmark, count(*) AS asked_of FROM questions GROUP BY ALL
)
SELECT model, benchmark,
    CASE WHEN kind IS NOT NULL THEN 'failed' WHEN n > 0 THEN 'done' ELSE 'missing' END AS status,
    coalesce(n, 0) AS n, coalesce(asked_of, 0) AS asked_of, reason
FROM models
CROSS JOIN benchmarks
LEFT JOIN answered USING (model, benchmark)
LEFT JOIN asked USING (benchmark)
LEFT JOIN failures USING (model, benchmark);

CREATE OR REPLACE VIEW model_similarity AS
SELECT a.embedder, a.model, b.model AS other,
    list_distance(a.embedding, b.embedding) AS distance,
    list_cosine_similarity(a.embedding, b.embedding) AS cosine
FROM model_embeddings a
JOIN model_embeddings b ON a.embedder = b.embedder AND a.model <> b.model;

CREATE OR REPLACE VIEW serving AS
SELECT embedder FROM embedders WHERE serving;
