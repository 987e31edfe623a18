-- Tables of warehouse.duckdb. A change here makes the next publish start the file anew.
-- `embedding` columns become FLOAT[n] when they are filled: n is the data's.

CREATE TABLE IF NOT EXISTS warehouse_info (
    schema_digest VARCHAR NOT NULL,
    published_at TIMESTAMP NOT NULL
);

CREATE TABLE IF NOT EXISTS models (
    model VARCHAR PRIMARY KEY,
    family VARCHAR,
    size_b DOUBLE CHECK (size_b > 0),
    communities VARCHAR[],
    backend VARCHAR,
    source VARCHAR NOT NULL,
    price_input DOUBLE CHECK (price_input >= 0),
    price_output DOUBLE CHECK (price_output >= 0)
);

CREATE TABLE IF NOT EXISTS benchmarks (
    benchmark VARCHAR PRIMARY KEY,
    source VARCHAR NOT NULL,
    metric VARCHAR,
    filter VARCHAR,
    num_fewshot INTEGER,
    tasks VARCHAR[],
    description VARCHAR
);

CREATE TABLE IF NOT EXISTS questions (
    question_id VARCHAR PRIMARY KEY,
    benchmark VARCHAR NOT NULL,
    category VARCHAR NOT NULL,
    task VARCHAR NOT NULL,
    doc_id BIGINT NOT NULL,
    text VARCHAR NOT NULL,
    split VARCHAR NOT NULL CHECK (split IN ('train', 'val', 'test'))
);

-- No key: an index over millions of rows costs more than the table. The lake has one file a pair, and the
-- publisher checks that every response has its question.
CREATE TABLE IF NOT EXISTS responses (
    question_id VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    benchmark VARCHAR NOT NULL,
    correct BOOLEAN NOT NULL,
    score DOUBLE
);

CREATE TABLE IF NOT EXISTS failures (
    benchmark VARCHAR,
    model VARCHAR,
    kind VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    attempts INTEGER NOT NULL,
    failed_at TIMESTAMP NOT NULL,
    PRIMARY KEY (benchmark, model)
);

CREATE TABLE IF NOT EXISTS question_embeddings (
    question_id VARCHAR NOT NULL,
    encoder VARCHAR NOT NULL,
    embedding FLOAT[] NOT NULL
);

CREATE TABLE IF NOT EXISTS embedders (
    embedder VARCHAR PRIMARY KEY,
    method VARCHAR NOT NULL,
    encoder VARCHAR,
    created_at TIMESTAMP,
    seed BIGINT,
    models BIGINT,
    questions BIGINT,
    dimensions BIGINT,
    val_accuracy DOUBLE,
    val_log_loss DOUBLE,
    seconds DOUBLE,
    serving BOOLEAN NOT NULL
);

CREATE TABLE IF NOT EXISTS model_embeddings (
    embedder VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    embedding FLOAT[] NOT NULL
);

CREATE TABLE IF NOT EXISTS forecasts (
    embedder VARCHAR,
    method VARCHAR,
    benchmark VARCHAR,
    n BIGINT NOT NULL,
    accuracy DOUBLE CHECK (accuracy BETWEEN 0 AND 1),
    ci_low DOUBLE,
    ci_high DOUBLE,
    auc DOUBLE,
    log_loss DOUBLE,
    brier DOUBLE,
    ece DOUBLE,
    PRIMARY KEY (embedder, method, benchmark)
);

-- No key, as with responses.
CREATE TABLE IF NOT EXISTS predictions (
    embedder VARCHAR NOT NULL,
    method VARCHAR NOT NULL,
    question_id VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    probability FLOAT NOT NULL,
    low FLOAT,
    high FLOAT
);

CREATE TABLE IF NOT EXISTS routing (
    embedder VARCHAR,
    method VARCHAR,
    benchmark VARCHAR,
    n BIGINT NOT NULL,
    accuracy DOUBLE CHECK (accuracy BETWEEN 0 AND 1),
    ci_low DOUBLE,
    ci_high DOUBLE,
    gain_over_best DOUBLE,
    gap_to_oracle DOUBLE,
    mean_cost DOUBLE,
    PRIMARY KEY (embedder, method, benchmark)
);

CREATE TABLE IF NOT EXISTS routes (
    embedder VARCHAR NOT NULL,
    method VARCHAR NOT NULL,
    question_id VARCHAR NOT NULL,
    benchmark VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    probability DOUBLE,
    correct BOOLEAN
);
