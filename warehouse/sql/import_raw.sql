-- raw: a row of the files. `spot` says where it stands, `prompt` is a hash of the text; what is empty is null.
CREATE TABLE raw (
    spot BIGINT,
    prompt_id VARCHAR,
    label VARCHAR,
    model_name VARCHAR,
    category VARCHAR,
    prompt UBIGINT,
    split VARCHAR
);
