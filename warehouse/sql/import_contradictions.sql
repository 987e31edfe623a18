-- The first pairs of prompt and model with both labels, and a row for each label.
WITH contradicting AS (
    SELECT prompt_id, model_name
    FROM graded
    JOIN prompt USING (prompt)
    JOIN model USING (model)
    WHERE lowest <> highest
    ORDER BY prompt, model
    LIMIT 3
)
SELECT prompt_id, model_name, list_sort([
    min(spot) FILTER (NOT correct),
    min(spot) FILTER (correct)
]) AS spots
FROM raw
JOIN contradicting USING (prompt_id, model_name)
GROUP BY prompt_id, model_name
ORDER BY min(spot);
