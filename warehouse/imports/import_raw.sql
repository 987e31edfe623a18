-- raw: the rows of the files. `spot` says where a row is, `prompt` is a hash of the text; what is empty is null.
-- `correct` is null where the label is neither 1 (true) nor 0 (false). What an answer took is null where the file says
-- nothing, or no such number, which is then in the column that ends in _fault. `format` and `item`, of logs only, are the
-- format of the file and the id that the question has there.
CREATE TABLE raw (
    spot BIGINT,
    prompt_id VARCHAR,
    format VARCHAR,
    item VARCHAR,
    doc_id BIGINT,
    label VARCHAR,
    correct BOOLEAN,
    score DOUBLE,
    model_name VARCHAR,
    category VARCHAR,
    prompt UBIGINT,
    split VARCHAR,
    target VARCHAR,
    answer VARCHAR,
    tokens_in DOUBLE,
    tokens_out DOUBLE,
    cost DOUBLE,
    latency_s DOUBLE,
    tokens_in_fault VARCHAR,
    tokens_out_fault VARCHAR,
    cost_fault VARCHAR
);
