-- prompt: one row per prompt_id, numbered in their order (by doc_id or by value, where all have such a number).
-- `first` is the row from which its text is read.
CREATE TABLE prompt AS
WITH prompts AS (
    SELECT prompt_id, min(category) AS category, min(split) AS split, min(target) AS target, min(spot) AS first,
        coalesce(min(doc_id), CASE WHEN regexp_full_match(prompt_id, '\d{1,18}') THEN prompt_id::BIGINT END) AS number
    FROM raw
    WHERE prompt_id IS NOT NULL
    GROUP BY prompt_id
), told AS (
    SELECT *, bool_and(number IS NOT NULL) OVER () AS numeric FROM prompts
), numbered AS (
    SELECT *, row_number() OVER (ORDER BY CASE WHEN numeric THEN number END, prompt_id) - 1 AS prompt FROM told
)
SELECT prompt, prompt_id, category, split, target, first, CASE WHEN numeric THEN number ELSE prompt END AS doc_id
FROM numbered
ORDER BY prompt;
