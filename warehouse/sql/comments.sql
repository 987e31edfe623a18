-- What every table, view and column means; shown by DESCRIBE tools and SELECT comment FROM duckdb_columns().

COMMENT ON TABLE warehouse_info IS 'When this file was published, and from which schema.';
COMMENT ON COLUMN warehouse_info.schema_digest IS 'Digest of the schema; another one makes the next publish start anew.';
COMMENT ON COLUMN warehouse_info.published_at IS 'When the file was published (UTC).';

COMMENT ON TABLE models IS 'One row a language model: the registry''s and those that came with imported results.';
COMMENT ON COLUMN models.model IS 'Name; joins go by it.';
COMMENT ON COLUMN models.family IS 'Family of models it descends from.';
COMMENT ON COLUMN models.size_b IS 'Billions of parameters.';
COMMENT ON COLUMN models.communities IS 'What it belongs to: size class, coding, math, …';
COMMENT ON COLUMN models.backend IS 'lm-eval backend that runs it; null for imported models.';
COMMENT ON COLUMN models.source IS 'registry, or import where only imported results know it.';
COMMENT ON COLUMN models.price_input IS 'US$ per million input tokens.';
COMMENT ON COLUMN models.price_output IS 'US$ per million output tokens.';

COMMENT ON TABLE benchmarks IS 'One row a benchmark.';
COMMENT ON COLUMN benchmarks.benchmark IS 'Name; joins go by it.';
COMMENT ON COLUMN benchmarks.source IS 'registry, or import where only imported results know it.';
COMMENT ON COLUMN benchmarks.metric IS 'Metric that is thresholded into right and wrong.';
COMMENT ON COLUMN benchmarks.filter IS 'lm-eval filter whose output is graded.';
COMMENT ON COLUMN benchmarks.num_fewshot IS 'Examples shown before the question; null: as the task has it.';
COMMENT ON COLUMN benchmarks.tasks IS 'lm-eval tasks or groups it consists of.';
COMMENT ON COLUMN benchmarks.description IS 'What it measures.';

COMMENT ON TABLE questions IS 'One row a question.';
COMMENT ON COLUMN questions.question_id IS 'First 16 hex digits of SHA-256 over benchmark, NUL and text (and the ordinal of a repeated text).';
COMMENT ON COLUMN questions.benchmark IS 'Benchmark it belongs to.';
COMMENT ON COLUMN questions.category IS 'Leaf task or published category.';
COMMENT ON COLUMN questions.task IS 'lm-eval task; for imported questions the published category.';
COMMENT ON COLUMN questions.doc_id IS 'Number of the document in its task; for imported questions the prompt_id, or its rank where it is no number.';
COMMENT ON COLUMN questions.text IS 'What the model is asked, without few-shot examples.';
COMMENT ON COLUMN questions.split IS 'train, val or test: from the text alone, or as an import gave it.';

COMMENT ON TABLE responses IS 'One row a graded answer. A question that a model was not asked has no row: missing is not wrong.';
COMMENT ON COLUMN responses.question_id IS 'Question that was asked.';
COMMENT ON COLUMN responses.model IS 'Model that answered.';
COMMENT ON COLUMN responses.benchmark IS 'Benchmark of the question.';
COMMENT ON COLUMN responses.correct IS 'Whether the answer was right.';
COMMENT ON COLUMN responses.score IS 'The metric before thresholding.';

COMMENT ON TABLE failures IS 'One row a (benchmark, model) whose last evaluation failed.';
COMMENT ON COLUMN failures.benchmark IS 'Benchmark.';
COMMENT ON COLUMN failures.model IS 'Model.';
COMMENT ON COLUMN failures.kind IS 'Kind of error, such as model_not_found, out_of_memory.';
COMMENT ON COLUMN failures.reason IS 'What went wrong, and the remedy.';
COMMENT ON COLUMN failures.attempts IS 'How often it failed since it last succeeded.';
COMMENT ON COLUMN failures.failed_at IS 'When it last failed (UTC).';

COMMENT ON TABLE question_embeddings IS 'One row a question and encoder.';
COMMENT ON COLUMN question_embeddings.question_id IS 'Question.';
COMMENT ON COLUMN question_embeddings.encoder IS 'Sentence encoder.';
COMMENT ON COLUMN question_embeddings.embedding IS 'Vector of unit length; FLOAT[n] of the encoder''s n.';

COMMENT ON TABLE embedders IS 'One row a trained embedder.';
COMMENT ON COLUMN embedders.embedder IS 'Version; the folder under embedders/ has this name.';
COMMENT ON COLUMN embedders.method IS 'Method, such as spectral.';
COMMENT ON COLUMN embedders.encoder IS 'Question encoder it was trained on.';
COMMENT ON COLUMN embedders.created_at IS 'When it was trained (UTC).';
COMMENT ON COLUMN embedders.seed IS 'Seed of its training.';
COMMENT ON COLUMN embedders.models IS 'Number of models it was trained on.';
COMMENT ON COLUMN embedders.questions IS 'Number of questions it was trained on.';
COMMENT ON COLUMN embedders.dimensions IS 'Length of a model embedding.';
COMMENT ON COLUMN embedders.val_accuracy IS 'Accuracy on validation questions.';
COMMENT ON COLUMN embedders.val_log_loss IS 'Log loss on validation questions.';
COMMENT ON COLUMN embedders.seconds IS 'Seconds of training.';
COMMENT ON COLUMN embedders.serving IS 'Whether it is the one that routes.';

COMMENT ON TABLE model_embeddings IS 'One row a model and embedder.';
COMMENT ON COLUMN model_embeddings.embedder IS 'Embedder that made it.';
COMMENT ON COLUMN model_embeddings.model IS 'Model.';
COMMENT ON COLUMN model_embeddings.embedding IS 'The model''s vector, as long as the embedder''s dimensions; of method spectral, what it multiplies a question''s coordinates by to give its log-odds of a right answer, and the bias last.';

COMMENT ON TABLE forecasts IS 'How well right and wrong are forecast on test questions: one row a method and benchmark.';
COMMENT ON COLUMN forecasts.embedder IS 'Embedder that is evaluated.';
COMMENT ON COLUMN forecasts.method IS 'embedder, or a baseline (mf, the matrix factorisation of the paper; knn, model_benchmark_mean, model_mean, majority).';
COMMENT ON COLUMN forecasts.benchmark IS 'Benchmark, or all for the whole test split.';
COMMENT ON COLUMN forecasts.n IS 'Number of forecasts.';
COMMENT ON COLUMN forecasts.accuracy IS 'Share of forecasts that are right.';
COMMENT ON COLUMN forecasts.ci_low IS 'Lower end of the 95% interval of accuracy.';
COMMENT ON COLUMN forecasts.ci_high IS 'Upper end of the 95% interval of accuracy.';
COMMENT ON COLUMN forecasts.auc IS 'Area under the ROC curve.';
COMMENT ON COLUMN forecasts.log_loss IS 'Mean log loss.';
COMMENT ON COLUMN forecasts.brier IS 'Mean squared error of the probability.';
COMMENT ON COLUMN forecasts.ece IS 'Expected calibration error, 15 bins.';

COMMENT ON TABLE predictions IS 'What forecasts is made of, for the embedder evaluated last: one row a method, test question and model that answered it.';
COMMENT ON COLUMN predictions.embedder IS 'Embedder that is evaluated.';
COMMENT ON COLUMN predictions.method IS 'embedder or a baseline, as in forecasts.';
COMMENT ON COLUMN predictions.question_id IS 'Test question.';
COMMENT ON COLUMN predictions.model IS 'Model that answered it; responses says how.';
COMMENT ON COLUMN predictions.probability IS 'Forecast probability that the answer is right; cast to DOUBLE before computing with it.';
COMMENT ON COLUMN predictions.low IS 'Lower end of the 95% interval of the probability; null where the method has none.';
COMMENT ON COLUMN predictions.high IS 'Upper end of it.';

COMMENT ON TABLE routing IS 'How well test questions are routed: one row a method and benchmark.';
COMMENT ON COLUMN routing.embedder IS 'Embedder that is evaluated.';
COMMENT ON COLUMN routing.method IS 'router, or a baseline (best_single, best_per_benchmark, weighted_random, random, oracle).';
COMMENT ON COLUMN routing.benchmark IS 'Benchmark, or all for the whole test split.';
COMMENT ON COLUMN routing.n IS 'Number of routed questions.';
COMMENT ON COLUMN routing.accuracy IS 'Share of questions that the chosen model answers right.';
COMMENT ON COLUMN routing.ci_low IS 'Lower end of the 95% interval of accuracy.';
COMMENT ON COLUMN routing.ci_high IS 'Upper end of the 95% interval of accuracy.';
COMMENT ON COLUMN routing.gain_over_best IS 'Accuracy divided by that of the best single model, minus 1.';
COMMENT ON COLUMN routing.gap_to_oracle IS '1 minus accuracy divided by that of the oracle.';
COMMENT ON COLUMN routing.mean_cost IS 'Mean US$ a question of 200 tokens in and 200 out, at the registry''s prices of the chosen models; null where one has no price.';

COMMENT ON TABLE routes IS 'Which model each test question is sent to: one row a method and question.';
COMMENT ON COLUMN routes.embedder IS 'Embedder that is evaluated.';
COMMENT ON COLUMN routes.method IS 'Routing method.';
COMMENT ON COLUMN routes.question_id IS 'Test question.';
COMMENT ON COLUMN routes.benchmark IS 'Benchmark of the question.';
COMMENT ON COLUMN routes.model IS 'Model it is sent to.';
COMMENT ON COLUMN routes.probability IS 'Probability that the model is right, as the embedder forecasts it, whatever the method.';
COMMENT ON COLUMN routes.correct IS 'Whether it was; null where it was not asked.';

COMMENT ON VIEW leaderboard IS 'Accuracy of each model on each benchmark, and on all its answers (benchmark = all).';
COMMENT ON COLUMN leaderboard.model IS 'Model.';
COMMENT ON COLUMN leaderboard.benchmark IS 'Benchmark, or all.';
COMMENT ON COLUMN leaderboard.n IS 'Number of answers.';
COMMENT ON COLUMN leaderboard.accuracy IS 'Share of right answers.';
COMMENT ON COLUMN leaderboard.ci_low IS 'Lower end of the 95% Wilson interval.';
COMMENT ON COLUMN leaderboard.ci_high IS 'Upper end of the 95% Wilson interval.';

COMMENT ON VIEW coverage IS 'What is evaluated: every model × every benchmark.';
COMMENT ON COLUMN coverage.model IS 'Model.';
COMMENT ON COLUMN coverage.benchmark IS 'Benchmark.';
COMMENT ON COLUMN coverage.status IS 'done (there are answers, n of asked_of), missing, or failed (the last evaluation failed).';
COMMENT ON COLUMN coverage.n IS 'Number of answers.';
COMMENT ON COLUMN coverage.asked_of IS 'Number of questions of the benchmark.';
COMMENT ON COLUMN coverage.reason IS 'Why it failed.';

COMMENT ON VIEW model_similarity IS 'How near two models'' embeddings are.';
COMMENT ON COLUMN model_similarity.embedder IS 'Embedder.';
COMMENT ON COLUMN model_similarity.model IS 'Model.';
COMMENT ON COLUMN model_similarity.other IS 'Another model.';
COMMENT ON COLUMN model_similarity.distance IS 'Euclidean distance; of method spectral, the root mean square difference of the two models'' log-odds over the training questions.';
COMMENT ON COLUMN model_similarity.cosine IS 'Cosine similarity; of method spectral, that of the two models'' log-odds over the training questions.';
