-- Tables of warehouse.duckdb. A change here makes the next publish start the file anew.
-- `embedding` columns become FLOAT[n] when they are filled: n is the data's.

CREATE TABLE IF NOT EXISTS warehouse_info (
    schema_digest VARCHAR NOT NULL,
    responses_digest VARCHAR NOT NULL,
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
    split VARCHAR NOT NULL CHECK (split IN ('train', 'val', 'test')),
    target VARCHAR
);

-- No key: an index over millions of rows costs more than the table. The lake has one set of answers a pair, and the
-- publisher checks that every response has its question.
CREATE TABLE IF NOT EXISTS responses (
    question_id VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    benchmark VARCHAR NOT NULL,
    correct BOOLEAN NOT NULL,
    score DOUBLE,
    answer VARCHAR,
    tokens_in BIGINT,
    tokens_out BIGINT,
    cost DOUBLE,
    latency_s DOUBLE
);

CREATE TABLE IF NOT EXISTS failures (
    benchmark VARCHAR,
    model VARCHAR,
    kind VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    attempts INTEGER NOT NULL,
    failed_at TIMESTAMP NOT NULL,
    retry_at TIMESTAMP NOT NULL,
    PRIMARY KEY (benchmark, model)
);

CREATE TABLE IF NOT EXISTS not_applicable (
    benchmark VARCHAR,
    model VARCHAR,
    reason VARCHAR NOT NULL,
    PRIMARY KEY (benchmark, model)
);

CREATE TABLE IF NOT EXISTS evaluations (
    benchmark VARCHAR,
    model VARCHAR,
    asked BIGINT CHECK (asked >= 0),
    unanswered BIGINT CHECK (unanswered >= 0),
    truncated BIGINT CHECK (truncated >= 0),
    commonest_choice DOUBLE CHECK (commonest_choice BETWEEN 0 AND 1),
    equal_scores DOUBLE CHECK (equal_scores BETWEEN 0 AND 1),
    chance DOUBLE CHECK (chance BETWEEN 0 AND 1),
    PRIMARY KEY (benchmark, model)
);

CREATE TABLE IF NOT EXISTS superseded (
    benchmark VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    n BIGINT NOT NULL,
    accuracy DOUBLE CHECK (accuracy BETWEEN 0 AND 1),
    fingerprint VARCHAR,
    why VARCHAR NOT NULL,
    superseded_at TIMESTAMP NOT NULL
);

-- Apart from responses: a chosen few questions say nothing about all questions by their mean.
CREATE TABLE IF NOT EXISTS onboarding_responses (
    question_id VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    benchmark VARCHAR NOT NULL,
    correct BOOLEAN NOT NULL,
    score DOUBLE,
    answer VARCHAR
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
    serving BOOLEAN NOT NULL,
    data_version VARCHAR,
    code_version VARCHAR,
    aligned_to VARCHAR,
    drift_distance DOUBLE,
    drift_predictions DOUBLE CHECK (drift_predictions BETWEEN 0 AND 1),
    verdict VARCHAR,
    held_back BOOLEAN,
    chosen_at TIMESTAMP
);

CREATE TABLE IF NOT EXISTS model_embeddings (
    embedder VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    embedding FLOAT[] NOT NULL
);

CREATE TABLE IF NOT EXISTS onboarded (
    embedder VARCHAR,
    model VARCHAR,
    benchmark VARCHAR,
    n BIGINT NOT NULL,
    answered BIGINT NOT NULL,
    accuracy DOUBLE CHECK (accuracy BETWEEN 0 AND 1),
    ci_low DOUBLE,
    ci_high DOUBLE,
    PRIMARY KEY (embedder, model, benchmark)
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
    reason VARCHAR,
    PRIMARY KEY (embedder, method, benchmark)
);

CREATE TABLE IF NOT EXISTS reliability (
    embedder VARCHAR,
    method VARCHAR,
    bin INTEGER,
    n BIGINT NOT NULL,
    probability DOUBLE NOT NULL,
    accuracy DOUBLE NOT NULL,
    ci_low DOUBLE,
    ci_high DOUBLE,
    PRIMARY KEY (embedder, method, bin)
);

CREATE TABLE IF NOT EXISTS forecast_curve (
    embedder VARCHAR,
    method VARCHAR,
    questions BIGINT,
    draw INTEGER,
    n BIGINT,
    accuracy DOUBLE,
    ci_low DOUBLE,
    ci_high DOUBLE,
    log_loss DOUBLE,
    reason VARCHAR,
    PRIMARY KEY (embedder, method, questions, draw)
);

-- No key, as with responses.
CREATE TABLE IF NOT EXISTS predictions (
    embedder VARCHAR NOT NULL,
    method VARCHAR NOT NULL,
    question_id VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    probability FLOAT NOT NULL,
    low FLOAT,
    high FLOAT,
    support FLOAT CHECK (support BETWEEN 0 AND 1)
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
    candidates DOUBLE,
    mean_cost DOUBLE,
    cost_unit VARCHAR,
    reason VARCHAR,
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

CREATE TABLE IF NOT EXISTS robustness (
    embedder VARCHAR,
    form VARCHAR,
    method VARCHAR,
    changed DOUBLE,
    n BIGINT NOT NULL,
    routing_accuracy DOUBLE,
    ci_low DOUBLE,
    ci_high DOUBLE,
    routing_forecast DOUBLE,
    overconfidence DOUBLE,
    routing_rate DOUBLE,
    mean_forecast DOUBLE,
    mean_rate DOUBLE,
    accuracy DOUBLE,
    log_loss DOUBLE,
    ece DOUBLE,
    asked_routing_accuracy DOUBLE,
    asked_routing_forecast DOUBLE,
    asked_accuracy DOUBLE,
    asked_log_loss DOUBLE,
    asked_ece DOUBLE,
    routing_loss DOUBLE,
    routing_loss_low DOUBLE,
    routing_loss_high DOUBLE,
    log_loss_rise DOUBLE,
    log_loss_rise_low DOUBLE,
    log_loss_rise_high DOUBLE,
    reason VARCHAR,
    PRIMARY KEY (embedder, form, method)
);

-- A point of a curve is a method at a cost weight; a row of method 'model' is one model, always asked.
CREATE TABLE IF NOT EXISTS cost_curve (
    embedder VARCHAR NOT NULL,
    method VARCHAR NOT NULL,
    model VARCHAR,
    cost_weight DOUBLE,
    n BIGINT NOT NULL,
    accuracy DOUBLE,
    ci_low DOUBLE,
    ci_high DOUBLE,
    mean_cost DOUBLE,
    cost_unit VARCHAR NOT NULL,
    pareto BOOLEAN
);

CREATE TABLE IF NOT EXISTS cost_summary (
    embedder VARCHAR,
    method VARCHAR,
    models BIGINT,
    n BIGINT,
    cost_unit VARCHAR,
    aiq DOUBLE,
    aiq_low DOUBLE,
    aiq_high DOUBLE,
    cost_weight DOUBLE,
    accuracy DOUBLE,
    ci_low DOUBLE,
    ci_high DOUBLE,
    mean_cost DOUBLE,
    cost_share DOUBLE,
    cost_share_low DOUBLE,
    cost_share_high DOUBLE,
    predicted_by VARCHAR,
    measured DOUBLE CHECK (measured BETWEEN 0 AND 1),
    reason VARCHAR,
    PRIMARY KEY (embedder, method)
);

CREATE TABLE IF NOT EXISTS benchmark_predictions (
    embedder VARCHAR,
    benchmark VARCHAR,
    method VARCHAR,
    models BIGINT,
    held_out BIGINT,
    splits BIGINT,
    tau DOUBLE,
    tau_low DOUBLE,
    tau_high DOUBLE,
    p_value DOUBLE,
    significant BIGINT,
    mse DOUBLE,
    mse_low DOUBLE,
    mse_high DOUBLE,
    mae DOUBLE,
    mae_low DOUBLE,
    mae_high DOUBLE,
    reason VARCHAR,
    PRIMARY KEY (embedder, benchmark, method)
);

-- No key, as with responses.
CREATE TABLE IF NOT EXISTS predicted_accuracies (
    embedder VARCHAR NOT NULL,
    benchmark VARCHAR NOT NULL,
    method VARCHAR NOT NULL,
    split INTEGER NOT NULL,
    model VARCHAR NOT NULL,
    predicted DOUBLE NOT NULL,
    observed DOUBLE NOT NULL
);

CREATE TABLE IF NOT EXISTS communities (
    embedder VARCHAR,
    kind VARCHAR,
    label VARCHAR,
    models BIGINT,
    inside DOUBLE,
    outside DOUBLE,
    ratio DOUBLE,
    chance_low DOUBLE,
    chance_high DOUBLE,
    p_value DOUBLE,
    reason VARCHAR,
    PRIMARY KEY (embedder, kind, label)
);

CREATE TABLE IF NOT EXISTS probes (
    embedder VARCHAR,
    target VARCHAR,
    method VARCHAR,
    models BIGINT,
    classes BIGINT,
    metric VARCHAR,
    score DOUBLE,
    ci_low DOUBLE,
    ci_high DOUBLE,
    chance DOUBLE,
    p_value DOUBLE,
    reason VARCHAR,
    PRIMARY KEY (embedder, target, method)
);

CREATE TABLE IF NOT EXISTS contributions (
    embedder VARCHAR,
    contributor VARCHAR,
    target VARCHAR,
    models BIGINT,
    mse_with DOUBLE,
    mse_without DOUBLE,
    contribution DOUBLE,
    ci_low DOUBLE,
    ci_high DOUBLE,
    reason VARCHAR,
    PRIMARY KEY (embedder, contributor, target)
);

CREATE TABLE IF NOT EXISTS fallbacks (
    embedder VARCHAR,
    model VARCHAR,
    method VARCHAR,
    fallback VARCHAR,
    distance DOUBLE,
    n BIGINT,
    accuracy_before DOUBLE,
    accuracy DOUBLE,
    ci_low DOUBLE,
    ci_high DOUBLE,
    loss DOUBLE,
    loss_low DOUBLE,
    loss_high DOUBLE,
    reason VARCHAR,
    PRIMARY KEY (embedder, model, method)
);

CREATE TABLE IF NOT EXISTS portfolios (
    embedder VARCHAR,
    method VARCHAR,
    k BIGINT,
    model VARCHAR,
    n BIGINT,
    accuracy DOUBLE,
    ci_low DOUBLE,
    ci_high DOUBLE,
    share DOUBLE,
    share_low DOUBLE,
    share_high DOUBLE,
    enough BOOLEAN,
    reason VARCHAR,
    PRIMARY KEY (embedder, method, k)
);

CREATE TABLE IF NOT EXISTS difficulty (
    embedder VARCHAR,
    method VARCHAR,
    benchmark VARCHAR,
    n BIGINT,
    pearson DOUBLE,
    pearson_low DOUBLE,
    pearson_high DOUBLE,
    spearman DOUBLE,
    mae DOUBLE,
    reason VARCHAR,
    PRIMARY KEY (embedder, method, benchmark)
);

CREATE TABLE IF NOT EXISTS question_difficulty (
    embedder VARCHAR NOT NULL,
    question_id VARCHAR NOT NULL,
    benchmark VARCHAR NOT NULL,
    n BIGINT NOT NULL,
    observed DOUBLE NOT NULL,
    predicted DOUBLE NOT NULL
);
