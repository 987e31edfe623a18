-- model: one row per model, numbered by name.
CREATE TABLE model AS
SELECT (row_number() OVER (ORDER BY model_name) - 1)::INTEGER AS model, model_name
FROM (SELECT DISTINCT model_name FROM raw WHERE model_name IS NOT NULL);

-- graded: one row per prompt and model. `copies` rows of the files are about it, and agree if lowest = highest; `ones` of
-- them say that the answer is right, and the first one says `first`.
CREATE TABLE graded AS
SELECT prompt.prompt, model.model, min(correct::TINYINT) AS lowest, max(correct::TINYINT) AS highest, count(*) AS copies,
    count(*) FILTER (correct) AS ones, arg_min(correct, spot)::TINYINT AS first, $score AS score$known
FROM raw
JOIN prompt USING (prompt_id)
JOIN model USING (model_name)
WHERE correct IS NOT NULL
GROUP BY prompt.prompt, model.model;
