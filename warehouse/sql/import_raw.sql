-- raw: a row of the files. `spot` says where it stands, `prompt` is a hash of the text; what is empty is null.
-- `correct` is null where the label is neither 1 (true) nor 0 (false).
CREATE TABLE raw (
    spot BIGINT,
    prompt_id VARCHAR,
    label VARCHAR,
    correct BOOLEAN,
    model_name VARCHAR,
    category VARCHAR,
    prompt UBIGINT,
    split VARCHAR
);
