-- What every table, view and column means; shown by DESCRIBE tools and SELECT comment FROM duckdb_columns().

COMMENT ON TABLE warehouse_info IS 'When this file was published, and from which schema.';
COMMENT ON COLUMN warehouse_info.schema_digest IS 'Digest of the schema; another one makes the next publish start anew.';
COMMENT ON COLUMN warehouse_info.responses_digest IS 'Digest of the files of the lake that responses was made of.';
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
COMMENT ON COLUMN failures.kind IS 'model_not_found, task_unknown, data_unreachable, out_of_memory, server_refused, failed (for another reason), or interrupted (it began and has not ended: it still runs, or its process was killed).';
COMMENT ON COLUMN failures.reason IS 'What went wrong, and the remedy.';
COMMENT ON COLUMN failures.attempts IS 'How often it failed since it last succeeded or its registry entry changed.';
COMMENT ON COLUMN failures.failed_at IS 'When it last failed (UTC).';
COMMENT ON COLUMN failures.retry_at IS 'From when on it is tried again (UTC): 12 hours after the first failure, then twice as long each time, a week at most.';

COMMENT ON TABLE superseded IS 'Answers that were given under an earlier entry of the registry, or whose model or benchmark left it: kept aside in the lake, not part of responses. One row a set of answers.';
COMMENT ON COLUMN superseded.benchmark IS 'Benchmark.';
COMMENT ON COLUMN superseded.model IS 'Model.';
COMMENT ON COLUMN superseded.n IS 'Number of answers.';
COMMENT ON COLUMN superseded.accuracy IS 'Share of right answers.';
COMMENT ON COLUMN superseded.fingerprint IS 'Digest of what determined the answers; where it holds again, they come back.';
COMMENT ON COLUMN superseded.why IS 'Why they were kept aside.';
COMMENT ON COLUMN superseded.superseded_at IS 'When they were kept aside (UTC).';

COMMENT ON TABLE onboarding_responses IS 'One row a graded answer of a model that is onboarded from a chosen few questions. Their mean is no accuracy: see onboarded.';
COMMENT ON COLUMN onboarding_responses.question_id IS 'Question that was asked.';
COMMENT ON COLUMN onboarding_responses.model IS 'Model that answered.';
COMMENT ON COLUMN onboarding_responses.benchmark IS 'Benchmark of the question.';
COMMENT ON COLUMN onboarding_responses.correct IS 'Whether the answer was right.';
COMMENT ON COLUMN onboarding_responses.score IS 'The metric before thresholding.';

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
COMMENT ON COLUMN embedders.data_version IS 'Digest of the answers and questions it was trained on.';
COMMENT ON COLUMN embedders.code_version IS 'Version of the code that trained it.';
COMMENT ON COLUMN embedders.aligned_to IS 'Embedder to whose axes it was rotated, so that the models of both can be compared; null for the first.';
COMMENT ON COLUMN embedders.drift_distance IS 'Mean Euclidean distance by which the embeddings of models of both moved; null for the first.';
COMMENT ON COLUMN embedders.drift_predictions IS 'Share of forecasts (test questions × models of both) that changed between right and wrong; null for the first.';

COMMENT ON TABLE model_embeddings IS 'One row a model and embedder.';
COMMENT ON COLUMN model_embeddings.embedder IS 'Embedder that made it.';
COMMENT ON COLUMN model_embeddings.model IS 'Model.';
COMMENT ON COLUMN model_embeddings.embedding IS 'The model''s vector, as long as the embedder''s dimensions; of method spectral, what it multiplies a question''s coordinates by to give its log-odds of a right answer, and the bias last.';

COMMENT ON TABLE onboarded IS 'What is predicted for models that answered a chosen few questions: one row an embedder, model and benchmark, and one for all.';
COMMENT ON COLUMN onboarded.embedder IS 'Embedder that the model was folded into.';
COMMENT ON COLUMN onboarded.model IS 'Model.';
COMMENT ON COLUMN onboarded.benchmark IS 'Benchmark, or all.';
COMMENT ON COLUMN onboarded.n IS 'Number of questions of the benchmark.';
COMMENT ON COLUMN onboarded.answered IS 'Number of them that the model answered.';
COMMENT ON COLUMN onboarded.accuracy IS 'Predicted share of right answers to all of them.';
COMMENT ON COLUMN onboarded.ci_low IS 'Lower end of its 95% interval.';
COMMENT ON COLUMN onboarded.ci_high IS 'Upper end of it.';

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
COMMENT ON COLUMN forecasts.reason IS 'Why there is no result; null where there is one.';

COMMENT ON TABLE predictions IS 'What forecasts is made of, for the embedder evaluated last: one row a method, test question and model that answered it.';
COMMENT ON COLUMN predictions.embedder IS 'Embedder that is evaluated.';
COMMENT ON COLUMN predictions.method IS 'embedder or a baseline, as in forecasts.';
COMMENT ON COLUMN predictions.question_id IS 'Test question.';
COMMENT ON COLUMN predictions.model IS 'Model that answered it; responses says how.';
COMMENT ON COLUMN predictions.probability IS 'Forecast probability that the answer is right; cast to DOUBLE before computing with it.';
COMMENT ON COLUMN predictions.low IS 'Lower end of the 95% interval of the probability; null where the method has none.';
COMMENT ON COLUMN predictions.high IS 'Upper end of it.';

COMMENT ON TABLE reliability IS 'Are the forecast probabilities right? One row a method and bin of probability.';
COMMENT ON COLUMN reliability.embedder IS 'Embedder that is evaluated.';
COMMENT ON COLUMN reliability.method IS 'embedder or a baseline, as in forecasts.';
COMMENT ON COLUMN reliability.bin IS 'Number of the bin, from 0: [bin / 15, (bin + 1) / 15).';
COMMENT ON COLUMN reliability.n IS 'Number of forecasts in it.';
COMMENT ON COLUMN reliability.probability IS 'Their mean probability.';
COMMENT ON COLUMN reliability.accuracy IS 'Share of them that turned out right.';
COMMENT ON COLUMN reliability.ci_low IS 'Lower end of the 95% interval of accuracy, by bootstrap over questions.';
COMMENT ON COLUMN reliability.ci_high IS 'Upper end of it.';

COMMENT ON TABLE forecast_curve IS 'How forecasts improve with training questions: one row a method, number of training questions and draw of them.';
COMMENT ON COLUMN forecast_curve.embedder IS 'Embedder that is evaluated.';
COMMENT ON COLUMN forecast_curve.method IS 'embedder or a baseline, as in forecasts.';
COMMENT ON COLUMN forecast_curve.questions IS 'Number of training questions.';
COMMENT ON COLUMN forecast_curve.draw IS 'Number of the random draw, from 0; all training questions have one draw.';
COMMENT ON COLUMN forecast_curve.n IS 'Number of forecasts.';
COMMENT ON COLUMN forecast_curve.accuracy IS 'Share of forecasts that are right, on the whole test split.';
COMMENT ON COLUMN forecast_curve.ci_low IS 'Lower end of the 95% interval of accuracy.';
COMMENT ON COLUMN forecast_curve.ci_high IS 'Upper end of it.';
COMMENT ON COLUMN forecast_curve.log_loss IS 'Mean log loss.';
COMMENT ON COLUMN forecast_curve.reason IS 'Why there is no result; null where there is one.';

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
COMMENT ON COLUMN routing.candidates IS 'Mean number of models to choose from: those that answered the question.';
COMMENT ON COLUMN routing.mean_cost IS 'Mean cost of a question; null where the cost of a model that was asked is not known.';
COMMENT ON COLUMN routing.cost_unit IS 'What cost is counted in: US$ (a question of 200 tokens in and 200 out, at the registry''s prices), or billions of parameters where models have no prices.';
COMMENT ON COLUMN routing.reason IS 'Why there is no result; null where there is one.';

COMMENT ON TABLE routes IS 'Which model each test question is sent to: one row a method and question.';
COMMENT ON COLUMN routes.embedder IS 'Embedder that is evaluated.';
COMMENT ON COLUMN routes.method IS 'Routing method.';
COMMENT ON COLUMN routes.question_id IS 'Test question.';
COMMENT ON COLUMN routes.benchmark IS 'Benchmark of the question.';
COMMENT ON COLUMN routes.model IS 'Model it is sent to.';
COMMENT ON COLUMN routes.probability IS 'Probability that the model is right, as the embedder forecasts it, whatever the method.';
COMMENT ON COLUMN routes.correct IS 'Whether it was; null where it was not asked.';

COMMENT ON TABLE cost_curve IS 'What accuracy costs: one row a method and cost weight, and one a single model (method = model). Of the models whose cost is known.';
COMMENT ON COLUMN cost_curve.embedder IS 'Embedder that is evaluated.';
COMMENT ON COLUMN cost_curve.method IS 'router (routing score less cost_weight times cost), best_single or best_per_benchmark (rates of the train split less the same), model (always the same one).';
COMMENT ON COLUMN cost_curve.model IS 'The one that is asked, where method is model.';
COMMENT ON COLUMN cost_curve.cost_weight IS 'How much accuracy a unit of cost is worth; null where method is model.';
COMMENT ON COLUMN cost_curve.n IS 'Number of test questions; of a model, those that it answered.';
COMMENT ON COLUMN cost_curve.accuracy IS 'Share of questions answered right.';
COMMENT ON COLUMN cost_curve.ci_low IS 'Lower end of the 95% interval of accuracy.';
COMMENT ON COLUMN cost_curve.ci_high IS 'Upper end of it.';
COMMENT ON COLUMN cost_curve.mean_cost IS 'Mean cost of a question.';
COMMENT ON COLUMN cost_curve.cost_unit IS 'US$ or billions of parameters, as in routing.';
COMMENT ON COLUMN cost_curve.pareto IS 'Whether no other model is as cheap and as accurate and better in one of both, where method is model.';

COMMENT ON TABLE cost_summary IS 'What cost-aware routing saves: one row a method.';
COMMENT ON COLUMN cost_summary.embedder IS 'Embedder that is evaluated.';
COMMENT ON COLUMN cost_summary.method IS 'As in cost_curve.';
COMMENT ON COLUMN cost_summary.models IS 'Number of models whose cost is known.';
COMMENT ON COLUMN cost_summary.n IS 'Number of test questions.';
COMMENT ON COLUMN cost_summary.cost_unit IS 'US$ or billions of parameters, as in routing.';
COMMENT ON COLUMN cost_summary.aiq IS 'Area under the non-decreasing convex hull of the curve of accuracy by cost, from the cheapest to the dearest point of all methods, divided by that range (RouterBench).';
COMMENT ON COLUMN cost_summary.aiq_low IS 'Lower end of its 95% interval.';
COMMENT ON COLUMN cost_summary.aiq_high IS 'Upper end of it.';
COMMENT ON COLUMN cost_summary.cost_weight IS 'The greatest that keeps the accuracy of the best single model on the val split.';
COMMENT ON COLUMN cost_summary.accuracy IS 'Accuracy at that weight, on the test split.';
COMMENT ON COLUMN cost_summary.ci_low IS 'Lower end of the 95% interval of accuracy.';
COMMENT ON COLUMN cost_summary.ci_high IS 'Upper end of it.';
COMMENT ON COLUMN cost_summary.mean_cost IS 'Mean cost of a question at that weight.';
COMMENT ON COLUMN cost_summary.cost_share IS 'mean_cost divided by that of always asking the best single model.';
COMMENT ON COLUMN cost_summary.cost_share_low IS 'Lower end of its 95% interval.';
COMMENT ON COLUMN cost_summary.cost_share_high IS 'Upper end of it.';
COMMENT ON COLUMN cost_summary.reason IS 'Why there is no result, or no cost weight; null where there is one.';

COMMENT ON TABLE benchmark_predictions IS 'How well models'' accuracies on a benchmark are predicted by an embedder trained without it: one row a benchmark and method. Means over random splits of the models; 95% intervals are bootstraps over the splits: of these models, not of others.';
COMMENT ON COLUMN benchmark_predictions.embedder IS 'Embedder that is evaluated.';
COMMENT ON COLUMN benchmark_predictions.benchmark IS 'Benchmark left out of training.';
COMMENT ON COLUMN benchmark_predictions.method IS 'embedder (ridge regression on embeddings), embedder_and_text (text, corrected by ridge regression on embeddings), text (mean forecast probability of its questions; needs no answers to it), mean_elsewhere (mean accuracy on the other benchmarks, as it is), mean_elsewhere_fitted (regression on it), rates_elsewhere (ridge regression on the accuracies on each of the others).';
COMMENT ON COLUMN benchmark_predictions.models IS 'Number of models that answered it and others.';
COMMENT ON COLUMN benchmark_predictions.held_out IS 'How many of them are held out in a split.';
COMMENT ON COLUMN benchmark_predictions.splits IS 'Number of random splits; of benchmark all, those of every benchmark together.';
COMMENT ON COLUMN benchmark_predictions.tau IS 'Kendall''s rank correlation of predicted and observed accuracies of held-out models.';
COMMENT ON COLUMN benchmark_predictions.tau_low IS 'Lower end of its 95% interval.';
COMMENT ON COLUMN benchmark_predictions.tau_high IS 'Upper end of it.';
COMMENT ON COLUMN benchmark_predictions.p_value IS 'Median over the splits of the p-value of tau.';
COMMENT ON COLUMN benchmark_predictions.significant IS 'Number of splits whose p-value is below 0.05.';
COMMENT ON COLUMN benchmark_predictions.mse IS 'Mean squared error of predicted accuracies.';
COMMENT ON COLUMN benchmark_predictions.mse_low IS 'Lower end of its 95% interval.';
COMMENT ON COLUMN benchmark_predictions.mse_high IS 'Upper end of it.';
COMMENT ON COLUMN benchmark_predictions.mae IS 'Mean absolute error.';
COMMENT ON COLUMN benchmark_predictions.mae_low IS 'Lower end of its 95% interval.';
COMMENT ON COLUMN benchmark_predictions.mae_high IS 'Upper end of it.';
COMMENT ON COLUMN benchmark_predictions.reason IS 'Why there is no result; null where there is one.';

COMMENT ON TABLE predicted_accuracies IS 'What benchmark_predictions is made of, for the embedder evaluated last: one row a benchmark, method, split and held-out model.';
COMMENT ON COLUMN predicted_accuracies.embedder IS 'Embedder that is evaluated.';
COMMENT ON COLUMN predicted_accuracies.benchmark IS 'Benchmark left out of training.';
COMMENT ON COLUMN predicted_accuracies.method IS 'As in benchmark_predictions.';
COMMENT ON COLUMN predicted_accuracies.split IS 'Number of the random split of the models.';
COMMENT ON COLUMN predicted_accuracies.model IS 'Model that was held out.';
COMMENT ON COLUMN predicted_accuracies.predicted IS 'Predicted accuracy.';
COMMENT ON COLUMN predicted_accuracies.observed IS 'Its accuracy on the benchmark.';

COMMENT ON TABLE communities IS 'Do models of one kind lie close together? One row a community.';
COMMENT ON COLUMN communities.embedder IS 'Embedder that is evaluated.';
COMMENT ON COLUMN communities.kind IS 'community (a label of models.communities), size (by models.size_b) or family.';
COMMENT ON COLUMN communities.label IS 'Name of the community.';
COMMENT ON COLUMN communities.models IS 'Number of its models.';
COMMENT ON COLUMN communities.inside IS 'Mean distance between two of its embeddings.';
COMMENT ON COLUMN communities.outside IS 'Mean distance from one of its embeddings to one outside.';
COMMENT ON COLUMN communities.ratio IS 'inside / outside.';
COMMENT ON COLUMN communities.chance_low IS 'Lower end of the range that holds 95% of the ratios of random groups of as many models.';
COMMENT ON COLUMN communities.chance_high IS 'Upper end of it.';
COMMENT ON COLUMN communities.p_value IS 'Share of random groups with a ratio as low (permutation test).';
COMMENT ON COLUMN communities.reason IS 'Why there is no result; null where there is one.';

COMMENT ON TABLE probes IS 'What can be read off an embedding: one row a target and method.';
COMMENT ON COLUMN probes.embedder IS 'Embedder that is evaluated.';
COMMENT ON COLUMN probes.target IS 'What is predicted: a community, family or size.';
COMMENT ON COLUMN probes.method IS 'linear (ridge regression or classification, leave-one-out) or knn (nearest neighbours).';
COMMENT ON COLUMN probes.models IS 'Number of models whose target is known.';
COMMENT ON COLUMN probes.classes IS 'Number of classes; null for a number.';
COMMENT ON COLUMN probes.metric IS 'What score is.';
COMMENT ON COLUMN probes.score IS 'How well the left-out models are predicted.';
COMMENT ON COLUMN probes.ci_low IS 'Lower end of its 95% interval, by bootstrap over models.';
COMMENT ON COLUMN probes.ci_high IS 'Upper end of it.';
COMMENT ON COLUMN probes.chance IS 'What guessing scores.';
COMMENT ON COLUMN probes.p_value IS 'Of scoring as high by chance (permutations).';
COMMENT ON COLUMN probes.reason IS 'Why there is no result; null where there is one.';

COMMENT ON TABLE contributions IS 'The paper''s matrix C: what a benchmark''s questions add to predicting another. One row a pair.';
COMMENT ON COLUMN contributions.embedder IS 'Embedder that is evaluated.';
COMMENT ON COLUMN contributions.contributor IS 'Benchmark that is left out or not.';
COMMENT ON COLUMN contributions.target IS 'Benchmark whose accuracies are predicted, never trained on.';
COMMENT ON COLUMN contributions.models IS 'Number of models.';
COMMENT ON COLUMN contributions.mse_with IS 'Mean squared error with the contributor in training.';
COMMENT ON COLUMN contributions.mse_without IS 'The same without it.';
COMMENT ON COLUMN contributions.contribution IS 'mse_without - mse_with: positive where the contributor helps.';
COMMENT ON COLUMN contributions.ci_low IS 'Lower end of its 95% interval, by bootstrap over the splits of the models.';
COMMENT ON COLUMN contributions.ci_high IS 'Upper end of it.';
COMMENT ON COLUMN contributions.reason IS 'Why there is no result; null where there is one.';

COMMENT ON TABLE fallbacks IS 'What remains of routing when a model is down: one row a model that the router uses and way to replace it; model = all is their mean by questions.';
COMMENT ON COLUMN fallbacks.embedder IS 'Embedder that is evaluated.';
COMMENT ON COLUMN fallbacks.model IS 'The model that is down.';
COMMENT ON COLUMN fallbacks.method IS 'reroute (the router, without it), nearest (of those that answered the question, the model whose embedding is nearest), best_single (the best other model on the train split), random (mean of all others).';
COMMENT ON COLUMN fallbacks.fallback IS 'The model asked instead; null where it differs by question.';
COMMENT ON COLUMN fallbacks.distance IS 'Euclidean distance of its embedding from that of the model that is down; null where the model differs by question.';
COMMENT ON COLUMN fallbacks.n IS 'Number of test questions that the router sends to the model that is down and another model answered.';
COMMENT ON COLUMN fallbacks.accuracy_before IS 'Share of them that it answers right.';
COMMENT ON COLUMN fallbacks.accuracy IS 'Share of them answered right by what replaces it.';
COMMENT ON COLUMN fallbacks.ci_low IS 'Lower end of the 95% interval of accuracy.';
COMMENT ON COLUMN fallbacks.ci_high IS 'Upper end of it.';
COMMENT ON COLUMN fallbacks.loss IS 'accuracy_before - accuracy.';
COMMENT ON COLUMN fallbacks.loss_low IS 'Lower end of its 95% interval, on the same questions before and after.';
COMMENT ON COLUMN fallbacks.loss_high IS 'Upper end of it.';
COMMENT ON COLUMN fallbacks.reason IS 'Why there is no result; null where there is one.';

COMMENT ON TABLE portfolios IS 'How few models are enough: one row a method and number of models k. Chosen on the val split, reported on the test split. Where answers are missing, of a block of models and questions without gaps: as much of the matrix as is found by leaving out models.';
COMMENT ON COLUMN portfolios.embedder IS 'Embedder that is evaluated.';
COMMENT ON COLUMN portfolios.method IS 'greedy (the model whose addition gains most on the val split), best_mean (the best by mean accuracy on the train split), random (mean of random portfolios).';
COMMENT ON COLUMN portfolios.k IS 'Number of models in the portfolio; the greatest is that of all of the block.';
COMMENT ON COLUMN portfolios.model IS 'The k-th model added; null where method is random.';
COMMENT ON COLUMN portfolios.n IS 'Number of test questions; every model of the block answered them.';
COMMENT ON COLUMN portfolios.accuracy IS 'Share of them that the router, choosing from the portfolio, gets right.';
COMMENT ON COLUMN portfolios.ci_low IS 'Lower end of the 95% interval of accuracy.';
COMMENT ON COLUMN portfolios.ci_high IS 'Upper end of it.';
COMMENT ON COLUMN portfolios.share IS 'accuracy divided by that of routing over all models.';
COMMENT ON COLUMN portfolios.share_low IS 'Lower end of its 95% interval.';
COMMENT ON COLUMN portfolios.share_high IS 'Upper end of it.';
COMMENT ON COLUMN portfolios.enough IS 'Whether it is the smallest of its method with at least 99% of the accuracy of all models on the val split.';
COMMENT ON COLUMN portfolios.reason IS 'Why there is no result; null where there is one.';

COMMENT ON TABLE difficulty IS 'How well the difficulty of unseen questions is foretold: one row a method and benchmark.';
COMMENT ON COLUMN difficulty.embedder IS 'Embedder that is evaluated.';
COMMENT ON COLUMN difficulty.method IS 'embedder (mean forecast probability), knn (that of KNN), benchmark_mean (share of right answers to its benchmark in training).';
COMMENT ON COLUMN difficulty.benchmark IS 'Benchmark, or all for the whole test split.';
COMMENT ON COLUMN difficulty.n IS 'Number of test questions that a model answered.';
COMMENT ON COLUMN difficulty.pearson IS 'Correlation of predicted and observed share of right answers; null where one of them does not vary.';
COMMENT ON COLUMN difficulty.pearson_low IS 'Lower end of its 95% interval, by bootstrap over questions.';
COMMENT ON COLUMN difficulty.pearson_high IS 'Upper end of it.';
COMMENT ON COLUMN difficulty.spearman IS 'Rank correlation.';
COMMENT ON COLUMN difficulty.mae IS 'Mean absolute error of the predicted share.';
COMMENT ON COLUMN difficulty.reason IS 'Why there is no result; null where there is one.';

COMMENT ON TABLE question_difficulty IS 'How hard each test question is, foretold and found, for the embedder evaluated last: one row a question.';
COMMENT ON COLUMN question_difficulty.embedder IS 'Embedder that is evaluated.';
COMMENT ON COLUMN question_difficulty.question_id IS 'Test question.';
COMMENT ON COLUMN question_difficulty.benchmark IS 'Its benchmark.';
COMMENT ON COLUMN question_difficulty.n IS 'Number of models that answered it.';
COMMENT ON COLUMN question_difficulty.observed IS 'Share of them that were right.';
COMMENT ON COLUMN question_difficulty.predicted IS 'Mean forecast probability of those models.';

COMMENT ON VIEW leaderboard IS 'Accuracy of each model on each benchmark, and on all its answers (benchmark = all).';
COMMENT ON COLUMN leaderboard.model IS 'Model.';
COMMENT ON COLUMN leaderboard.benchmark IS 'Benchmark, or all.';
COMMENT ON COLUMN leaderboard.n IS 'Number of answers.';
COMMENT ON COLUMN leaderboard.accuracy IS 'Share of right answers; where estimated, what the embedder that routes predicts it to be on all questions.';
COMMENT ON COLUMN leaderboard.ci_low IS 'Lower end of the 95% interval: Wilson''s, or the prediction''s where estimated.';
COMMENT ON COLUMN leaderboard.ci_high IS 'Upper end of it.';
COMMENT ON COLUMN leaderboard.estimated IS 'Whether accuracy is predicted from n answers to chosen questions (table onboarded) instead of measured.';

COMMENT ON VIEW coverage IS 'What is evaluated: every model × every benchmark.';
COMMENT ON COLUMN coverage.model IS 'Model.';
COMMENT ON COLUMN coverage.benchmark IS 'Benchmark.';
COMMENT ON COLUMN coverage.status IS 'done (there are answers, n of asked_of), onboarded (answers to chosen questions only), failed (the last evaluation failed; n answers are from before), superseded (answers only under an earlier entry, kept aside) or missing.';
COMMENT ON COLUMN coverage.n IS 'Number of answers.';
COMMENT ON COLUMN coverage.asked_of IS 'Number of questions of the benchmark.';
COMMENT ON COLUMN coverage.kind IS 'Kind of failure, as in failures; null where it did not fail.';
COMMENT ON COLUMN coverage.reason IS 'Why it failed.';
COMMENT ON COLUMN coverage.attempts IS 'How often it failed since it last succeeded or its registry entry changed.';
COMMENT ON COLUMN coverage.retry_at IS 'From when on it is tried again (UTC).';
COMMENT ON COLUMN coverage.superseded IS 'How many earlier sets of answers are kept aside.';

COMMENT ON VIEW model_similarity IS 'How near two models'' embeddings are.';
COMMENT ON COLUMN model_similarity.embedder IS 'Embedder.';
COMMENT ON COLUMN model_similarity.model IS 'Model.';
COMMENT ON COLUMN model_similarity.other IS 'Another model.';
COMMENT ON COLUMN model_similarity.distance IS 'Euclidean distance; of method spectral, the root mean square difference of the two models'' log-odds over the training questions.';
COMMENT ON COLUMN model_similarity.cosine IS 'Cosine similarity; of method spectral, that of the two models'' log-odds over the training questions.';

COMMENT ON VIEW serving IS 'The embedder that routes. SEMI JOIN serving USING (embedder) keeps its results and leaves out those of earlier ones.';
COMMENT ON COLUMN serving.embedder IS 'Version.';

COMMENT ON MACRO TABLE latest IS 'FROM latest(''forecasts''): the rows of a table of the embedder that routes or, where it has none yet, of the most recent embedder that has.';
