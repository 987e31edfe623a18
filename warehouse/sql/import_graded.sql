-- model: a row a model, numbered by name.
CREATE TABLE model AS
SELECT (row_number() OVER (ORDER BY model_name) - 1)::INTEGER AS model, model_name
FROM (SELECT DISTINCT model_name FROM raw WHERE model_name IS NOT NULL);

-- graded: a row a prompt and model; `copies` rows of the files say so, and agree if lowest = highest.
CREATE TABLE graded AS
WITH labelled AS (
    SELECT prompt.prompt, model.model, TRY_CAST(label AS DOUBLE) AS label
    FROM raw
    JOIN prompt USING (prompt_id)
    JOIN model USING (model_name)
)
SELECT prompt, model, min(label)::TINYINT AS lowest, max(label)::TINYINT AS highest, count(*) AS copies
FROM labelled
WHERE label IN (0, 1)
GROUP BY prompt, model;
