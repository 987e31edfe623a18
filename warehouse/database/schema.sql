-- Tables of warehouse.duckdb. The comment at the end of a line becomes the comment of its table or column in the database.
-- A table of the schema `history` has the rows of every embedder fitted so far. Under its name alone, a view has those of the
-- one that serves or, where it has none yet, of the most recent one that has.
-- After a change here, the next publish writes a new file. `embedding` columns become FLOAT[n] when they are filled, with
-- the n of the data.

CREATE TABLE warehouse_info ( -- When this file was published, and from what.
    schema_digest VARCHAR NOT NULL, -- Digest of the schema; where it differs, the next publish writes a new file.
    questions_digest VARCHAR, -- Digest of what the lake held when questions was filled.
    responses_digest VARCHAR, -- Digest of what the lake held when responses was filled.
    published_at TIMESTAMP NOT NULL -- When the file was published (UTC).
);

CREATE TABLE models ( -- One row per language model: the registry's and those that came with imported results.
    model VARCHAR PRIMARY KEY, -- Name; joins go by it.
    family VARCHAR, -- Family of models it descends from.
    size_b DOUBLE CHECK (size_b > 0), -- Billions of parameters.
    communities VARCHAR[], -- What it belongs to: size class, coding, math, …
    backend VARCHAR, -- lm-eval backend that runs it; null for imported models.
    source VARCHAR NOT NULL, -- registry, or import where only imported results have it.
    price_input DOUBLE CHECK (price_input >= 0), -- US$ per million input tokens.
    price_output DOUBLE CHECK (price_output >= 0) -- US$ per million output tokens.
);

CREATE TABLE benchmarks ( -- One row per benchmark.
    benchmark VARCHAR PRIMARY KEY, -- Name; joins go by it.
    source VARCHAR NOT NULL, -- registry, or import where only imported results have it.
    metric VARCHAR, -- Metric whose threshold separates right from wrong.
    filter VARCHAR, -- lm-eval filter whose output is graded.
    num_fewshot INTEGER, -- Examples shown before the question; null: as the task says.
    tasks VARCHAR[], -- lm-eval tasks or groups of which it consists.
    description VARCHAR -- What it measures.
);

CREATE TABLE questions ( -- One row per question.
    question_id VARCHAR PRIMARY KEY, -- First 16 hex digits of SHA-256 over benchmark, NUL and text (and the ordinal of a repeated text).
    benchmark VARCHAR NOT NULL, -- Benchmark it belongs to.
    category VARCHAR NOT NULL, -- Leaf task or published category.
    task VARCHAR NOT NULL, -- lm-eval task; for imported questions the published category.
    doc_id BIGINT NOT NULL, -- Number of the document in its task; for imported questions the prompt_id, or its rank where that is not a number.
    text VARCHAR NOT NULL, -- What the model is asked, without few-shot examples.
    split VARCHAR NOT NULL CHECK (split IN ('train', 'val', 'test')), -- train, val or test: from the text alone, or as an import gave it.
    target VARCHAR -- The right answer; null where that is not known.
);

-- No key: an index over millions of rows costs more than the table. The lake has one set of answers a pair, and the
-- publisher checks that every response has its question.
CREATE TABLE responses ( -- One row per graded answer. A question that a model was not asked has no row: missing is not wrong.
    question_id VARCHAR NOT NULL, -- Question that was asked.
    model VARCHAR NOT NULL, -- Model that answered.
    benchmark VARCHAR NOT NULL, -- Benchmark of the question.
    correct BOOLEAN NOT NULL, -- Whether the answer was right.
    score DOUBLE, -- The metric before thresholding.
    answer VARCHAR, -- What the model said or chose, cut off where it is long; null where not known.
    tokens_in BIGINT, -- Tokens of the prompt; null where not known.
    tokens_out BIGINT, -- Tokens of the answer; null where not known.
    cost DOUBLE, -- US$ that the answer was charged; null where not known.
    latency_s DOUBLE -- Seconds that the answer took; null where not known.
);

CREATE TABLE failures ( -- One row per (benchmark, model) whose last evaluation failed.
    benchmark VARCHAR, -- Benchmark.
    model VARCHAR, -- Model.
    kind VARCHAR NOT NULL, -- model_not_found, model_incomplete, task_unknown, task_faulty, data_unreachable, out_of_memory, server_refused, no_log_probabilities, not_numbers, prompt_too_long, too_few_answered, implausible_answers, failed (for another reason), or interrupted (it began and has not ended: it is still running, or its process was killed).
    reason VARCHAR NOT NULL, -- What went wrong, and the remedy.
    node VARCHAR, -- Host name of the machine that tried last; null where not known.
    attempts INTEGER NOT NULL, -- How often it failed since it last succeeded, or its registry entry or files it reads changed.
    failed_at TIMESTAMP NOT NULL, -- When it last failed (UTC).
    retry_at TIMESTAMP NOT NULL, -- From when on it is tried again (UTC): 12 hours after the first failure, then twice as long each time, a week at most.
    PRIMARY KEY (benchmark, model)
);

CREATE TABLE not_applicable ( -- One row per (benchmark, model) that is not asked, and is not missing either.
    benchmark VARCHAR, -- Benchmark.
    model VARCHAR, -- Model.
    reason VARCHAR NOT NULL, -- Why it is not asked.
    PRIMARY KEY (benchmark, model)
);

CREATE TABLE evaluations ( -- One row per (benchmark, model) that was evaluated: how far its answers can be trusted, and where and how fast they were given. Imported answers have no row.
    benchmark VARCHAR, -- Benchmark.
    model VARCHAR, -- Model.
    asked BIGINT CHECK (asked >= 0), -- Number of questions asked.
    unanswered BIGINT CHECK (unanswered >= 0), -- Questions asked that have no answer (none came, or no choice was preferred), and no row in responses.
    truncated BIGINT CHECK (truncated >= 0), -- Questions whose prompt was cut to fit the model's context.
    commonest_choice DOUBLE CHECK (commonest_choice BETWEEN 0 AND 1), -- Share of the commonest choice (by position) or text among the answers; null where each question has its own answer.
    equal_scores DOUBLE CHECK (equal_scores BETWEEN 0 AND 1), -- Share of questions all of whose choices have the same score; null for free text.
    chance DOUBLE CHECK (chance BETWEEN 0 AND 1), -- Expected accuracy of a guess among the choices; null for free text.
    node VARCHAR, -- Host name of the machine that asked; like what follows, null where an earlier version asked.
    gpu VARCHAR, -- GPU that answered; null where a CPU or a server did.
    seconds DOUBLE CHECK (seconds >= 0), -- Time that asking took, without loading the weights; of an evaluation that was cut short, only since it went on.
    tokens_per_second DOUBLE CHECK (tokens_per_second >= 0), -- Tokens in and out in that time; null where a server does not report them.
    PRIMARY KEY (benchmark, model)
);

CREATE TABLE imported_runs ( -- How imported answers came about, as far as logs say: one row per log, model and category.
    benchmark VARCHAR NOT NULL, -- Benchmark.
    model VARCHAR NOT NULL, -- Model.
    category VARCHAR NOT NULL, -- Leaf task or published category.
    source VARCHAR NOT NULL, -- The import, as `embedllm imports list` names it.
    file VARCHAR NOT NULL, -- The log.
    tool VARCHAR NOT NULL, -- What evaluated: lm-eval, inspect, …
    version VARCHAR, -- Of the tool; null where the log does not say.
    metric VARCHAR, -- Metric that graded; null where there was no choice.
    filter VARCHAR, -- Filter or scorer whose output was graded; null where there was no choice.
    settings VARCHAR -- What else the log says of how it was asked, as JSON: examples, template, temperature, …
);

CREATE TABLE superseded ( -- Answers that were given under an earlier entry of the registry, or whose model or benchmark left it: set aside in the lake, not part of responses. One row per set of answers.
    benchmark VARCHAR NOT NULL, -- Benchmark.
    model VARCHAR NOT NULL, -- Model.
    n BIGINT NOT NULL, -- Number of answers.
    accuracy DOUBLE CHECK (accuracy BETWEEN 0 AND 1), -- Share of right answers.
    fingerprint VARCHAR, -- Digest of what determined the answers; when it is the same again, they come back.
    why VARCHAR NOT NULL, -- Why they were set aside.
    superseded_at TIMESTAMP NOT NULL -- When they were set aside (UTC).
);

-- Not in responses, because the mean over a few chosen questions says nothing about all questions.
CREATE TABLE onboarding_responses ( -- One row per graded answer of a model that is onboarded from a few chosen questions. Their mean is not an accuracy: see onboarded.
    question_id VARCHAR NOT NULL, -- Question that was asked.
    model VARCHAR NOT NULL, -- Model that answered.
    benchmark VARCHAR NOT NULL, -- Benchmark of the question.
    correct BOOLEAN NOT NULL, -- Whether the answer was right.
    score DOUBLE, -- The metric before thresholding.
    answer VARCHAR -- What the model said or chose, cut off where it is long; null where not known.
);

CREATE TABLE question_embeddings ( -- One row per question and encoder.
    question_id VARCHAR NOT NULL, -- Question.
    encoder VARCHAR NOT NULL, -- Sentence encoder.
    embedding FLOAT[] NOT NULL -- Vector of unit length; FLOAT[n] of the encoder's n.
);

CREATE TABLE embedders ( -- One row per trained embedder.
    embedder VARCHAR PRIMARY KEY, -- Version; the folder under embedders/ has this name.
    method VARCHAR NOT NULL, -- Method, such as spectral.
    encoder VARCHAR, -- Question encoder it was trained on.
    created_at TIMESTAMP, -- When it was trained (UTC).
    seed BIGINT, -- Seed of its training.
    models BIGINT, -- Number of models it was trained on.
    questions BIGINT, -- Number of questions it was trained on.
    dimensions BIGINT, -- Length of a model embedding.
    val_accuracy DOUBLE, -- Accuracy on validation questions.
    val_log_loss DOUBLE, -- Log loss on validation questions.
    seconds DOUBLE, -- Seconds of training.
    serving BOOLEAN NOT NULL, -- Whether it is the one that routes.
    data_version VARCHAR, -- Digest of the answers and questions it was trained on.
    code_version VARCHAR, -- Version of the code that trained it.
    aligned_to VARCHAR, -- Embedder to whose axes it was rotated, so that the models of both can be compared; null for the first.
    drift_distance DOUBLE, -- Mean Euclidean distance by which the embeddings of models of both moved; null for the first.
    drift_predictions DOUBLE CHECK (drift_predictions BETWEEN 0 AND 1), -- Share of forecasts (test questions × models of both) that changed between right and wrong; null for the first.
    verdict VARCHAR, -- What was wrong with it on validation questions when it was trained; null where nothing was.
    held_back BOOLEAN, -- Whether it does not serve for that reason, unless somebody chooses it.
    chosen_at TIMESTAMP -- When a person last said that it is to serve (UTC); null where nobody did.
);

CREATE TABLE history.model_embeddings ( -- One row per model and embedder.
    embedder VARCHAR NOT NULL, -- Embedder that computed it.
    model VARCHAR NOT NULL, -- Model.
    embedding FLOAT[] NOT NULL -- The model's vector, as long as the embedder's dimensions; of method spectral, the weights of a question's coordinates in the log-odds of a right answer, and the bias last.
);

CREATE TABLE history.onboarded ( -- What is predicted for models that answered a few chosen questions: one row an embedder, model and benchmark, and one for all.
    embedder VARCHAR, -- Embedder that the model was folded into.
    model VARCHAR, -- Model.
    benchmark VARCHAR, -- Benchmark, or all.
    n BIGINT NOT NULL, -- Number of questions of the benchmark.
    answered BIGINT NOT NULL, -- Number of them that the model answered.
    accuracy DOUBLE CHECK (accuracy BETWEEN 0 AND 1), -- Predicted share of right answers to all of them.
    ci_low DOUBLE, -- Lower end of its 95% interval.
    ci_high DOUBLE, -- Upper end of it.
    PRIMARY KEY (embedder, model, benchmark)
);

CREATE TABLE history.forecasts ( -- How well right and wrong are forecast on test questions: one row per method and benchmark.
    embedder VARCHAR, -- Embedder that is evaluated.
    method VARCHAR, -- embedder, or a baseline (mf, the matrix factorisation of the paper; knn, model_benchmark_mean, model_mean, majority).
    benchmark VARCHAR, -- Benchmark, or all for the whole test split.
    n BIGINT NOT NULL, -- Number of forecasts.
    accuracy DOUBLE CHECK (accuracy BETWEEN 0 AND 1), -- Share of forecasts that are right.
    ci_low DOUBLE, -- Lower end of the 95% interval of accuracy.
    ci_high DOUBLE, -- Upper end of the 95% interval of accuracy.
    auc DOUBLE, -- Area under the ROC curve.
    log_loss DOUBLE, -- Mean log loss.
    brier DOUBLE, -- Mean squared error of the probability.
    ece DOUBLE, -- Expected calibration error, 15 bins.
    reason VARCHAR, -- Why there is no result; null where there is one.
    PRIMARY KEY (embedder, method, benchmark)
);

CREATE TABLE history.reliability ( -- Are the forecast probabilities right? One row per method and bin of probability.
    embedder VARCHAR, -- Embedder that is evaluated.
    method VARCHAR, -- embedder or a baseline, as in forecasts.
    bin INTEGER, -- Number of the bin, from 0: [bin / 15, (bin + 1) / 15).
    n BIGINT NOT NULL, -- Number of forecasts in it.
    probability DOUBLE NOT NULL, -- Their mean probability.
    accuracy DOUBLE NOT NULL, -- Share of them that turned out right.
    ci_low DOUBLE, -- Lower end of the 95% interval of accuracy, by bootstrap over questions.
    ci_high DOUBLE, -- Upper end of it.
    PRIMARY KEY (embedder, method, bin)
);

CREATE TABLE history.forecast_curve ( -- How forecasts improve with training questions: one row per method, number of training questions and draw of them.
    embedder VARCHAR, -- Embedder that is evaluated.
    method VARCHAR, -- embedder or a baseline, as in forecasts.
    questions BIGINT, -- Number of training questions.
    draw INTEGER, -- Number of the random draw, from 0; all training questions have one draw.
    n BIGINT, -- Number of forecasts.
    accuracy DOUBLE, -- Share of forecasts that are right, on the whole test split.
    ci_low DOUBLE, -- Lower end of the 95% interval of accuracy.
    ci_high DOUBLE, -- Upper end of it.
    log_loss DOUBLE, -- Mean log loss.
    reason VARCHAR, -- Why there is no result; null where there is one.
    PRIMARY KEY (embedder, method, questions, draw)
);

-- No key, as with responses.
CREATE TABLE predictions ( -- The single forecasts behind forecasts, for the embedder evaluated last: one row per method, test question and model that answered it.
    embedder VARCHAR NOT NULL, -- Embedder that is evaluated.
    method VARCHAR NOT NULL, -- embedder or a baseline, as in forecasts.
    question_id VARCHAR NOT NULL, -- Test question.
    model VARCHAR NOT NULL, -- Model that answered it; responses says how.
    probability FLOAT NOT NULL, -- Forecast probability that the answer is right; cast to DOUBLE before computing with it.
    low FLOAT, -- Lower end of the 95% interval of the probability; null where the method has none.
    high FLOAT, -- Upper end of it.
    support FLOAT CHECK (support BETWEEN 0 AND 1) -- How similar the question is to the training questions, from 0 (only the models' means are known) to 1; null where the method does not say.
);

CREATE TABLE history.routing ( -- How well test questions are routed: one row per method and benchmark.
    embedder VARCHAR, -- Embedder that is evaluated.
    method VARCHAR, -- router, or a baseline (best_single, best_per_benchmark, weighted_random, random, oracle).
    benchmark VARCHAR, -- Benchmark, or all for the whole test split.
    n BIGINT NOT NULL, -- Number of routed questions.
    accuracy DOUBLE CHECK (accuracy BETWEEN 0 AND 1), -- Share of questions that the chosen model answers right.
    ci_low DOUBLE, -- Lower end of the 95% interval of accuracy.
    ci_high DOUBLE, -- Upper end of the 95% interval of accuracy.
    gain_over_best DOUBLE, -- Accuracy divided by that of the best single model, minus 1.
    gap_to_oracle DOUBLE, -- 1 minus accuracy divided by that of the oracle.
    candidates DOUBLE, -- Mean number of models to choose from: those that answered the question.
    mean_cost DOUBLE, -- Mean cost of a question; null where the cost of a model that was asked is not known.
    cost_unit VARCHAR, -- What cost is counted in: US$ (a question of 200 tokens in and 200 out, at the registry's prices), or billions of parameters where models have no prices.
    reason VARCHAR, -- Why there is no result; null where there is one.
    PRIMARY KEY (embedder, method, benchmark)
);

CREATE TABLE history.routes ( -- Which model each test question is sent to: one row per method and question.
    embedder VARCHAR NOT NULL, -- Embedder that is evaluated.
    method VARCHAR NOT NULL, -- Routing method.
    question_id VARCHAR NOT NULL, -- Test question.
    benchmark VARCHAR NOT NULL, -- Benchmark of the question.
    model VARCHAR NOT NULL, -- Model it is sent to.
    probability DOUBLE, -- Probability that the model is right, as the embedder forecasts it, whatever the method.
    correct BOOLEAN -- Whether it was; null where it was not asked.
);

CREATE TABLE history.robustness ( -- How well methods do when the same test questions come in other forms: one row per form and method. The answers are those to the questions as asked.
    embedder VARCHAR, -- Embedder that is evaluated.
    form VARCHAR, -- Form of the questions: as_asked, or what was done to them; or a kind of nonsense, which is no question (nonsense_…).
    method VARCHAR, -- embedder or a baseline, as in forecasts.
    changed DOUBLE, -- Share of the test questions taken that the form changes; null for nonsense. All other columns are about these only.
    n BIGINT NOT NULL, -- Number of them; of nonsense, number of texts.
    routing_accuracy DOUBLE, -- Share of them that the model ranked first answers right, as it answered the question as asked.
    ci_low DOUBLE, -- Lower end of the 95% interval of routing_accuracy, by bootstrap over questions.
    ci_high DOUBLE, -- Upper end of it.
    routing_forecast DOUBLE, -- Mean probability forecast for the models ranked first.
    overconfidence DOUBLE, -- routing_forecast minus routing_accuracy.
    routing_rate DOUBLE, -- Mean share of right training answers of the models ranked first.
    mean_forecast DOUBLE, -- Mean probability of all answers; of nonsense, of all models.
    mean_rate DOUBLE, -- Mean share of right training answers of the models that gave them; of nonsense, of all models.
    accuracy DOUBLE, -- Share of the forecasts of all answers that are right.
    log_loss DOUBLE, -- Mean log loss of all answers.
    ece DOUBLE, -- Expected calibration error of all answers, over 15 bins.
    asked_routing_accuracy DOUBLE, -- routing_accuracy of the same questions as asked.
    asked_routing_forecast DOUBLE, -- routing_forecast of the same questions as asked.
    asked_accuracy DOUBLE, -- accuracy of the same questions as asked.
    asked_log_loss DOUBLE, -- log_loss of the same questions as asked.
    asked_ece DOUBLE, -- ece of the same questions as asked.
    routing_loss DOUBLE, -- asked_routing_accuracy minus routing_accuracy.
    routing_loss_low DOUBLE, -- Lower end of its 95% interval, by bootstrap over questions.
    routing_loss_high DOUBLE, -- Upper end of it.
    log_loss_rise DOUBLE, -- log_loss minus asked_log_loss.
    log_loss_rise_low DOUBLE, -- Lower end of its 95% interval, by bootstrap over questions.
    log_loss_rise_high DOUBLE, -- Upper end of it.
    reason VARCHAR, -- Why there is no result; null where there is one.
    PRIMARY KEY (embedder, form, method)
);

-- A point of a curve is a method at a cost weight; a row of method 'model' is one model, always asked.
CREATE TABLE history.cost_curve ( -- What accuracy costs: one row per method and cost weight, and one per single model (method = model), for the models whose cost is known.
    embedder VARCHAR NOT NULL, -- Embedder that is evaluated.
    method VARCHAR NOT NULL, -- router (routing score minus cost_weight times cost), best_single or best_per_benchmark (rates of the train split minus the same), model (always the same one).
    model VARCHAR, -- The one that is asked, where method is model.
    cost_weight DOUBLE, -- How much accuracy a unit of cost is worth; null where method is model.
    n BIGINT NOT NULL, -- Number of test questions; of a model, those that it answered.
    accuracy DOUBLE, -- Share of questions answered right.
    ci_low DOUBLE, -- Lower end of the 95% interval of accuracy.
    ci_high DOUBLE, -- Upper end of it.
    mean_cost DOUBLE, -- Mean cost of a question.
    cost_unit VARCHAR NOT NULL, -- US$ or billions of parameters, as in routing.
    pareto BOOLEAN -- Whether no other model is as cheap and as accurate and better in one of the two, where method is model.
);

CREATE TABLE history.cost_summary ( -- What cost-aware routing saves: one row per method.
    embedder VARCHAR, -- Embedder that is evaluated.
    method VARCHAR, -- As in cost_curve.
    models BIGINT, -- Number of models whose cost is known.
    n BIGINT, -- Number of test questions.
    cost_unit VARCHAR, -- US$ or billions of parameters, as in routing.
    aiq DOUBLE, -- Area under the non-decreasing convex hull of the curve of accuracy by cost, from the cheapest to the most expensive point of all methods, divided by that range (RouterBench).
    aiq_low DOUBLE, -- Lower end of its 95% interval.
    aiq_high DOUBLE, -- Upper end of it.
    cost_weight DOUBLE, -- The greatest weight that keeps the accuracy of the best single model on the val split.
    accuracy DOUBLE, -- Accuracy at that weight, on the test split.
    ci_low DOUBLE, -- Lower end of the 95% interval of accuracy.
    ci_high DOUBLE, -- Upper end of it.
    mean_cost DOUBLE, -- Mean cost of a question at that weight.
    cost_share DOUBLE, -- mean_cost divided by that of always asking the best single model.
    cost_share_low DOUBLE, -- Lower end of its 95% interval.
    cost_share_high DOUBLE, -- Upper end of it.
    predicted_by VARCHAR, -- What the cost of a question is predicted from, where answers say what they took: mean (of the model), category or form (of the text), of US$ or of tokens. Null: a model costs the same for every question.
    measured DOUBLE CHECK (measured BETWEEN 0 AND 1), -- Share of the answers to test questions whose cost was measured; of the others, predicted costs are counted. Null as predicted_by.
    reason VARCHAR, -- Why there is no result, or no cost weight; null where there is one.
    PRIMARY KEY (embedder, method)
);

CREATE TABLE history.benchmark_predictions ( -- How well models' accuracies on a benchmark are predicted by an embedder trained without it: one row per benchmark and method. Means over random splits of the models; 95% intervals are bootstraps over the splits: they are about these models, not about others.
    embedder VARCHAR, -- Embedder that is evaluated.
    benchmark VARCHAR, -- Benchmark left out of training.
    method VARCHAR, -- embedder (ridge regression on embeddings), embedder_and_text (text, corrected by ridge regression on embeddings), text (mean forecast probability of its questions; needs no answers to it), mean_elsewhere (mean accuracy on the other benchmarks, as it is), mean_elsewhere_fitted (regression on it), rates_elsewhere (ridge regression on the accuracies on each of the others).
    models BIGINT, -- Number of models that answered it and others.
    held_out BIGINT, -- How many of them are held out in a split.
    splits BIGINT, -- Number of random splits; of benchmark all, those of every benchmark together.
    tau DOUBLE, -- Kendall's rank correlation of predicted and observed accuracies of held-out models.
    tau_low DOUBLE, -- Lower end of its 95% interval.
    tau_high DOUBLE, -- Upper end of it.
    p_value DOUBLE, -- Median over the splits of the p-value of tau.
    significant BIGINT, -- Number of splits whose p-value is below 0.05.
    mse DOUBLE, -- Mean squared error of predicted accuracies.
    mse_low DOUBLE, -- Lower end of its 95% interval.
    mse_high DOUBLE, -- Upper end of it.
    mae DOUBLE, -- Mean absolute error.
    mae_low DOUBLE, -- Lower end of its 95% interval.
    mae_high DOUBLE, -- Upper end of it.
    reason VARCHAR, -- Why there is no result; null where there is one.
    PRIMARY KEY (embedder, benchmark, method)
);

-- No key, as with responses.
CREATE TABLE predicted_accuracies ( -- The single predictions behind benchmark_predictions, for the embedder evaluated last: one row per benchmark, method, split and held-out model.
    embedder VARCHAR NOT NULL, -- Embedder that is evaluated.
    benchmark VARCHAR NOT NULL, -- Benchmark left out of training.
    method VARCHAR NOT NULL, -- As in benchmark_predictions.
    split INTEGER NOT NULL, -- Number of the random split of the models.
    model VARCHAR NOT NULL, -- Model that was held out.
    predicted DOUBLE NOT NULL, -- Predicted accuracy.
    observed DOUBLE NOT NULL -- Its accuracy on the benchmark.
);

CREATE TABLE history.communities ( -- Are models of one kind close together? One row per community.
    embedder VARCHAR, -- Embedder that is evaluated.
    kind VARCHAR, -- community (a label of models.communities), size (by models.size_b) or family.
    label VARCHAR, -- Name of the community.
    models BIGINT, -- Number of its models.
    inside DOUBLE, -- Mean distance between two of its embeddings.
    outside DOUBLE, -- Mean distance from one of its embeddings to one outside.
    ratio DOUBLE, -- inside / outside.
    chance_low DOUBLE, -- Lower end of the range that holds 95% of the ratios of random groups of as many models.
    chance_high DOUBLE, -- Upper end of it.
    p_value DOUBLE, -- Share of random groups with a ratio as low (permutation test).
    reason VARCHAR, -- Why there is no result; null where there is one.
    PRIMARY KEY (embedder, kind, label)
);

CREATE TABLE history.probes ( -- What can be read off an embedding: one row per target and method.
    embedder VARCHAR, -- Embedder that is evaluated.
    target VARCHAR, -- What is predicted: a community, family or size.
    method VARCHAR, -- linear (ridge regression or classification, leave-one-out) or knn (nearest neighbours).
    models BIGINT, -- Number of models whose target is known.
    classes BIGINT, -- Number of classes; null for a number.
    metric VARCHAR, -- What the score measures.
    score DOUBLE, -- How well the left-out models are predicted.
    ci_low DOUBLE, -- Lower end of its 95% interval, by bootstrap over models.
    ci_high DOUBLE, -- Upper end of it.
    chance DOUBLE, -- Score of guessing.
    p_value DOUBLE, -- Probability of scoring as high by chance (permutations).
    reason VARCHAR, -- Why there is no result; null where there is one.
    PRIMARY KEY (embedder, target, method)
);

CREATE TABLE history.contributions ( -- The paper's matrix C: what a benchmark's questions add to predicting another. One row per pair.
    embedder VARCHAR, -- Embedder that is evaluated.
    contributor VARCHAR, -- Benchmark that is in the training data or left out.
    target VARCHAR, -- Benchmark whose accuracies are predicted, never trained on.
    models BIGINT, -- Number of models.
    mse_with DOUBLE, -- Mean squared error with the contributor in training.
    mse_without DOUBLE, -- The same without it.
    contribution DOUBLE, -- mse_without - mse_with: positive where the contributor helps.
    ci_low DOUBLE, -- Lower end of its 95% interval, by bootstrap over the splits of the models.
    ci_high DOUBLE, -- Upper end of it.
    reason VARCHAR, -- Why there is no result; null where there is one.
    PRIMARY KEY (embedder, contributor, target)
);

CREATE TABLE history.fallbacks ( -- How well routing works when a model is down: one row per model that the router uses and way to replace it; model = all is their mean over questions.
    embedder VARCHAR, -- Embedder that is evaluated.
    model VARCHAR, -- The model that is down.
    method VARCHAR, -- reroute (the router, without it), nearest (of those that answered the question, the model whose embedding is nearest), best_single (the best other model on the train split), random (mean of all others).
    fallback VARCHAR, -- The model asked instead; null where it differs by question.
    distance DOUBLE, -- Euclidean distance of its embedding from that of the model that is down; null where the model differs by question.
    n BIGINT, -- Number of test questions that the router sends to the model that is down and another model answered.
    accuracy_before DOUBLE, -- Share of them that it answers right.
    accuracy DOUBLE, -- Share of them answered right by what replaces it.
    ci_low DOUBLE, -- Lower end of the 95% interval of accuracy.
    ci_high DOUBLE, -- Upper end of it.
    loss DOUBLE, -- accuracy_before - accuracy.
    loss_low DOUBLE, -- Lower end of its 95% interval, on the same questions before and after.
    loss_high DOUBLE, -- Upper end of it.
    reason VARCHAR, -- Why there is no result; null where there is one.
    PRIMARY KEY (embedder, model, method)
);

CREATE TABLE history.portfolios ( -- How few models are enough: one row per method and number of models k. Chosen on the val split, reported on the test split. Where answers are missing, only for a block of models and questions without gaps, the largest that was found by leaving out models.
    embedder VARCHAR, -- Embedder that is evaluated.
    method VARCHAR, -- greedy (the model whose addition gains most on the val split), best_mean (the best by mean accuracy on the train split), random (mean of random portfolios).
    k BIGINT, -- Number of models in the portfolio; the greatest is the number of models in the block.
    model VARCHAR, -- The k-th model added; null where method is random.
    n BIGINT, -- Number of test questions; every model of the block answered them.
    accuracy DOUBLE, -- Share of them that the router, choosing from the portfolio, gets right.
    ci_low DOUBLE, -- Lower end of the 95% interval of accuracy.
    ci_high DOUBLE, -- Upper end of it.
    share DOUBLE, -- accuracy divided by that of routing over all models.
    share_low DOUBLE, -- Lower end of its 95% interval.
    share_high DOUBLE, -- Upper end of it.
    enough BOOLEAN, -- Whether it is the smallest of its method with at least 99% of the accuracy of all models on the val split.
    reason VARCHAR, -- Why there is no result; null where there is one.
    PRIMARY KEY (embedder, method, k)
);

CREATE TABLE history.difficulty ( -- How well the difficulty of unseen questions is predicted: one row per method and benchmark.
    embedder VARCHAR, -- Embedder that is evaluated.
    method VARCHAR, -- embedder (mean forecast probability), knn (that of KNN), benchmark_mean (share of right answers to its benchmark in training).
    benchmark VARCHAR, -- Benchmark, or all for the whole test split.
    n BIGINT, -- Number of test questions that a model answered.
    pearson DOUBLE, -- Correlation of predicted and observed share of right answers; null where one of them does not vary.
    pearson_low DOUBLE, -- Lower end of its 95% interval, by bootstrap over questions.
    pearson_high DOUBLE, -- Upper end of it.
    spearman DOUBLE, -- Rank correlation.
    mae DOUBLE, -- Mean absolute error of the predicted share.
    reason VARCHAR, -- Why there is no result; null where there is one.
    PRIMARY KEY (embedder, method, benchmark)
);

CREATE TABLE question_difficulty ( -- How hard each test question is, predicted and observed, for the embedder evaluated last: one row per question.
    embedder VARCHAR NOT NULL, -- Embedder that is evaluated.
    question_id VARCHAR NOT NULL, -- Test question.
    benchmark VARCHAR NOT NULL, -- Its benchmark.
    n BIGINT NOT NULL, -- Number of models that answered it.
    observed DOUBLE NOT NULL, -- Share of them that were right.
    predicted DOUBLE NOT NULL -- Mean forecast probability of those models.
);
