-- Questions of one text, which the files tell apart by ids (`item`): the n-th of them gets '#n' after its prompt_id.

-- asked: one row per file and id of a text that some file asks under several ids.
CREATE TEMP TABLE asked AS
SELECT prompt_id, format, spot // $file AS file, item, min(doc_id) AS doc_id
FROM raw
WHERE item IS NOT NULL AND prompt_id IN (
    SELECT prompt_id FROM raw WHERE item IS NOT NULL GROUP BY prompt_id, spot // $file HAVING min(item) <> max(item)
)
GROUP BY ALL;

-- placed: which of the questions of its text each id is. Files of a format share their ids, unless there are more ids
-- than any file has: then the order in a file that has all of them counts. It is null where neither tells.
CREATE TEMP TABLE placed AS
WITH counted AS (
    SELECT *, count(*) OVER in_file AS here, min(doc_id) OVER (PARTITION BY prompt_id, format, item) AS lowest
    FROM asked
    WINDOW in_file AS (PARTITION BY prompt_id, file)
), ranked AS (
    SELECT *, max(here) OVER (PARTITION BY prompt_id) AS most,
        dense_rank() OVER (PARTITION BY prompt_id, format ORDER BY lowest, item) AS in_format,
        row_number() OVER (PARTITION BY prompt_id, file ORDER BY doc_id, item) AS in_file
    FROM counted
), measured AS (
    SELECT *, max(in_format) OVER (PARTITION BY prompt_id, format) AS known FROM ranked
)
SELECT prompt_id, file, item, CASE WHEN known = most THEN in_format WHEN here = most THEN in_file END AS place
FROM measured;

CREATE TEMP TABLE unplaced AS
SELECT spot, prompt_id, model_name
FROM raw
SEMI JOIN asked USING (prompt_id)
ANTI JOIN (FROM placed WHERE place IS NOT NULL) placed
    ON placed.prompt_id = raw.prompt_id AND placed.file = raw.spot // $file AND placed.item = raw.item;

DELETE FROM raw USING unplaced
WHERE unplaced.spot = raw.spot AND unplaced.prompt_id = raw.prompt_id AND unplaced.model_name = raw.model_name;

UPDATE raw SET prompt_id = raw.prompt_id || '#' || place
FROM placed
WHERE placed.prompt_id = raw.prompt_id AND placed.file = raw.spot // $file AND placed.item = raw.item AND place > 1;

SELECT spot // $file AS file, count(*) FROM unplaced GROUP BY ALL;
