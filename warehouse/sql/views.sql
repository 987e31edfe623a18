-- 95% Wilson score intervals: z = 1.959964. A model that was onboarded from a few answers has the embedder's estimates
-- where it was not asked in full; its row 'all' is estimated as long as one of its benchmarks is.
CREATE OR REPLACE VIEW leaderboard AS
WITH counted AS (
    SELECT model, coalesce(benchmark, 'all') AS benchmark, count(*) AS n, avg(correct::DOUBLE) AS accuracy
    FROM responses
    GROUP BY GROUPING SETS ((model, benchmark), (model))
), centred AS (
    SELECT *, 1.959964 * 1.959964 / n AS zz,
        1.959964 * sqrt(accuracy * (1 - accuracy) / n + (1.959964 / (2 * n)) ** 2) AS half_width
    FROM counted
), unasked AS (
    SELECT o.*
    FROM onboarded o
    SEMI JOIN embedders e ON o.embedder = e.embedder AND e.serving
    ANTI JOIN responses r ON o.model = r.model AND o.benchmark = r.benchmark
), estimates AS (
    FROM unasked SEMI JOIN (SELECT model FROM unasked WHERE benchmark <> 'all') USING (model)
)
SELECT model, benchmark, n, accuracy,
    greatest(0, (accuracy + zz / 2 - half_width) / (1 + zz)) AS ci_low,
    least(1, (accuracy + zz / 2 + half_width) / (1 + zz)) AS ci_high,
    false AS estimated
FROM centred
ANTI JOIN estimates USING (model, benchmark)
UNION ALL
SELECT model, benchmark, answered AS n, accuracy, ci_low, ci_high, true AS estimated
FROM estimates;

CREATE OR REPLACE VIEW coverage AS
WITH answered AS (
    SELECT model, benchmark, count(*) AS n FROM responses GROUP BY ALL
), chosen AS (
    SELECT model, benchmark, count(*) AS chosen FROM onboarding_responses GROUP BY ALL
), earlier AS (
    SELECT model, benchmark, count(*) AS superseded FROM superseded GROUP BY ALL
), asked AS (
    SELECT benchmark, count(*) AS asked_of FROM questions GROUP BY ALL
)
SELECT model, benchmark,
    CASE
        WHEN kind IS NOT NULL THEN 'failed'
        WHEN answered.n > 0 THEN 'done'
        WHEN not_applicable.reason IS NOT NULL THEN 'not_applicable'
        WHEN chosen > 0 THEN 'onboarded'
        WHEN superseded > 0 THEN 'superseded'
        ELSE 'missing'
    END AS status,
    coalesce(answered.n, chosen, 0) AS n, coalesce(asked_of, 0) AS asked_of,
    kind, coalesce(failures.reason, not_applicable.reason) AS reason, attempts, retry_at,
    coalesce(superseded, 0) AS superseded,
    accuracy, ci_low, ci_high, chance, unanswered, truncated, commonest_choice
FROM models
CROSS JOIN benchmarks
LEFT JOIN answered USING (model, benchmark)
LEFT JOIN (SELECT model, benchmark, accuracy, ci_low, ci_high FROM leaderboard WHERE NOT estimated)
    USING (model, benchmark)
LEFT JOIN evaluations USING (model, benchmark)
LEFT JOIN not_applicable USING (model, benchmark)
LEFT JOIN chosen USING (model, benchmark)
LEFT JOIN earlier USING (model, benchmark)
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

-- Some experiments are refreshed weekly only, so that the serving embedder may have no rows yet.
CREATE OR REPLACE MACRO latest(name) AS TABLE
SELECT * FROM query_table(name)
WHERE embedder = (
    SELECT embedder FROM embedders
    WHERE embedder IN (SELECT embedder FROM query_table(name))
    ORDER BY serving DESC, created_at DESC NULLS LAST
    LIMIT 1
);
