-- Questions with the same text as one nearer to training get its split; returns how many these are.
CREATE TEMP TABLE moved AS
WITH placed AS (
    SELECT prompt, split, first_value(split) OVER (
        PARTITION BY text ORDER BY list_position(['train', 'val', 'test'], split)
    ) AS nearest
    FROM prompt
    JOIN text USING (prompt)
    WHERE split IS NOT NULL
)
SELECT prompt, nearest FROM placed WHERE split <> nearest;
UPDATE prompt SET split = nearest FROM moved WHERE moved.prompt = prompt.prompt;
SELECT count(*) FROM moved;
