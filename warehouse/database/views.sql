-- 95% Wilson score intervals: z = 1.959964. A model that was onboarded from a few answers has the embedder's estimates
-- where it was not asked in full; its row 'all' is an estimate as long as one of its benchmarks is.
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
), onboarded_model AS (
    SELECT DISTINCT model, true AS knows_few FROM onboarding_responses
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
        WHEN knows_few THEN 'onboarded'
        ELSE 'missing'
    END AS status,
    coalesce(answered.n, chosen, 0) AS n, coalesce(asked_of, 0) AS asked_of,
    kind, coalesce(failures.reason, not_applicable.reason) AS reason, attempts, retry_at,
    coalesce(superseded, 0) AS superseded,
    accuracy, ci_low, ci_high, chance, unanswered, truncated, commonest_choice, tools
FROM models
CROSS JOIN benchmarks
LEFT JOIN (SELECT model, benchmark, list_sort(list(DISTINCT tool)) AS tools FROM imported_runs GROUP BY ALL)
    USING (model, benchmark)
LEFT JOIN answered USING (model, benchmark)
LEFT JOIN (SELECT model, benchmark, accuracy, ci_low, ci_high FROM leaderboard WHERE NOT estimated)
    USING (model, benchmark)
LEFT JOIN evaluations USING (model, benchmark)
LEFT JOIN not_applicable USING (model, benchmark)
LEFT JOIN chosen USING (model, benchmark)
LEFT JOIN onboarded_model USING (model)
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

-- A table's name alone says the same; queries of before still have this.
CREATE OR REPLACE MACRO latest(name) AS TABLE
FROM query_table(name);

-- The comments of views, which tools show as they do for tables.
COMMENT ON VIEW leaderboard IS 'Accuracy of each model on each benchmark, and on all its answers (benchmark = all).';
COMMENT ON COLUMN leaderboard.model IS 'Model.';
COMMENT ON COLUMN leaderboard.benchmark IS 'Benchmark, or all.';
COMMENT ON COLUMN leaderboard.n IS 'Number of answers.';
COMMENT ON COLUMN leaderboard.accuracy IS 'Share of right answers; where estimated, what the embedder that routes predicts for all questions.';
COMMENT ON COLUMN leaderboard.ci_low IS 'Lower end of the 95% interval: Wilson''s, or the prediction''s where estimated.';
COMMENT ON COLUMN leaderboard.ci_high IS 'Upper end of it.';
COMMENT ON COLUMN leaderboard.estimated IS 'Whether accuracy is predicted from n answers to chosen questions (table onboarded) instead of measured.';
COMMENT ON VIEW coverage IS 'What is evaluated: every model × every benchmark.';
COMMENT ON COLUMN coverage.model IS 'Model.';
COMMENT ON COLUMN coverage.benchmark IS 'Benchmark.';
COMMENT ON COLUMN coverage.status IS 'done (there are answers, n of asked_of), onboarded (the model answered chosen questions only, n of them of this benchmark), failed (the last evaluation failed; n answers are from before), not_applicable (the model''s entry leaves the benchmark out, or its backend cannot take it), superseded (answers only under an earlier entry, set aside) or missing.';
COMMENT ON COLUMN coverage.n IS 'Number of answers.';
COMMENT ON COLUMN coverage.asked_of IS 'Number of questions of the benchmark.';
COMMENT ON COLUMN coverage.kind IS 'Kind of failure, as in failures; null where it did not fail.';
COMMENT ON COLUMN coverage.reason IS 'Why it failed, or is not applicable.';
COMMENT ON COLUMN coverage.attempts IS 'How often it failed since it last succeeded or its registry entry changed.';
COMMENT ON COLUMN coverage.retry_at IS 'When it may be tried again (UTC).';
COMMENT ON COLUMN coverage.superseded IS 'How many earlier sets of answers are set aside.';
COMMENT ON COLUMN coverage.accuracy IS 'Share of right answers.';
COMMENT ON COLUMN coverage.ci_low IS 'Lower end of its 95% Wilson interval.';
COMMENT ON COLUMN coverage.ci_high IS 'Upper end of its 95% Wilson interval.';
COMMENT ON COLUMN coverage.chance IS 'Expected accuracy of a guess among the choices; null for free text and imported answers.';
COMMENT ON COLUMN coverage.unanswered IS 'Questions asked that have no answer (none came, or no choice was preferred), and no row in responses. Null for imported answers.';
COMMENT ON COLUMN coverage.truncated IS 'Questions whose prompt was cut to fit the model''s context. Null for imported answers.';
COMMENT ON COLUMN coverage.commonest_choice IS 'Share of the commonest choice (by position) or text among the answers. Null for imported answers.';
COMMENT ON COLUMN coverage.tools IS 'What evaluated imported answers (lm-eval, inspect, …), as far as their logs say; imported_runs has the files and settings.';
COMMENT ON VIEW model_similarity IS 'How close the embeddings of two models are.';
COMMENT ON COLUMN model_similarity.embedder IS 'Embedder.';
COMMENT ON COLUMN model_similarity.model IS 'Model.';
COMMENT ON COLUMN model_similarity.other IS 'Another model.';
COMMENT ON COLUMN model_similarity.distance IS 'Euclidean distance; of method spectral, the root mean square difference of the two models'' log-odds over the training questions.';
COMMENT ON COLUMN model_similarity.cosine IS 'Cosine similarity; of method spectral, that of the two models'' log-odds over the training questions.';
COMMENT ON VIEW serving IS 'The embedder that routes. SEMI JOIN serving USING (embedder) keeps its results and leaves out those of earlier ones.';
COMMENT ON COLUMN serving.embedder IS 'Version.';
COMMENT ON MACRO TABLE latest IS 'FROM latest(''forecasts'') is the same as FROM forecasts: the rows of the embedder that routes or, where it has none yet, of the most recent embedder that has.';
