"""The graph that Dagster loads: what is in it under each registry, and that loading it stays cheap."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from assets.inputs.external import EXTERNALS
from assets.inputs.partitions import MODELS_PARTITION, responses_key
from assets.inputs.provenance import EXPENSIVE
from assets.inputs.workspace import Workspace
from harness.registry import load_registry
from pipelines.definitions import build_definitions
from pipelines.instance import register_models
from pipelines.resource import WorkspaceResource
from pipelines.settings import DEMO_REGISTRY, PROJECT, Settings, open_workspace, registry_in_force

PAPER_REGISTRY = PROJECT / "registry" / "paper"
HEAVY = ["torch", "transformers", "sentence_transformers", "lm_eval", "sklearn", "matplotlib", "datasets"]

STAGES = {
    "imported_results": "collection",
    "correctness_matrix": "matrix",
    "coverage": "matrix",
    "question_embeddings": "embedding",
    "embedder": "embedding",
    "onboarded": "embedding",
    "left_out_embeddings": "evaluation",
    "forecasts": "evaluation",
    "forecast_curve": "evaluation",
    "routing": "evaluation",
    "robustness": "evaluation",
    "cost_curve": "evaluation",
    "benchmark_predictions": "evaluation",
    "communities": "evaluation",
    "probes": "evaluation",
    "contributions": "evaluation",
    "fallbacks": "evaluation",
    "portfolios": "evaluation",
    "difficulty": "evaluation",
    "warehouse": "report",
    "report": "report",
}
SKILLS = "addition subtraction comparison sequence letters roman logic weekday units code".split()  # noqa: SIM905
PAPER = "mmlu truthfulqa social_iqa piqa medmcqa mathqa logiqa gsm8k gpqa asdiv".split()  # noqa: SIM905
CHECKS = {
    "correctness_matrix:every_response_has_its_question",
    "correctness_matrix:labels_are_right_or_wrong",
    "correctness_matrix:one_answer_a_model_and_question",
    "correctness_matrix:splits_are_disjoint",
    "warehouse:everything_is_evaluated",
    "question_embeddings:every_question_is_embedded",
    "question_embeddings:embeddings_are_finite",
    "embedder:model_embeddings_are_finite",
    "embedder:good_enough_to_serve",
}
EXPERIMENTS = {name for name, group in STAGES.items() if group == "evaluation"} - {"left_out_embeddings"}
CHECKS |= {f"{name}:results_are_sound" for name in EXPERIMENTS}
OF_ANSWERS = {"answers_can_be_trusted"}


def _checks_of(*benchmarks: str) -> set[str]:
    return CHECKS | {f"responses/{benchmark}:{check}" for benchmark in benchmarks for check in OF_ANSWERS}


def _definitions(home: Path, registry: Path | None = None) -> dg.Definitions:
    settings = Settings(home=home, registry=registry)
    return build_definitions(registry_in_force(settings), WorkspaceResource.of(settings))


def _groups(definitions: dg.Definitions) -> dict[str, str]:
    graph = definitions.resolve_asset_graph()
    return {key.to_user_string(): graph.get(key).group_name for key in graph.materializable_asset_keys}


def _jobs(definitions: dg.Definitions) -> set[str]:
    return {job.name for job in definitions.jobs or ()}


def _checks(definitions: dg.Definitions) -> set[str]:
    keys = definitions.resolve_asset_graph().asset_check_keys
    return {f"{key.asset_key.to_user_string()}:{key.name}" for key in keys}


def test_the_demo_has_the_zoo_an_asset_a_skill_and_the_stages(tmp_path):
    definitions = _definitions(tmp_path, DEMO_REGISTRY)
    dg.Definitions.validate_loadable(definitions)
    answers = {f"responses/{skill}": "collection" for skill in SKILLS}
    assert _groups(definitions) == {"zoo": "collection", **answers, **STAGES}
    assert _jobs(definitions) == {"evaluate", "refresh"}
    assert _checks(definitions) == _checks_of(*SKILLS)


def test_the_paper_has_ten_benchmarks_by_112_models(tmp_path):
    definitions = _definitions(tmp_path, PAPER_REGISTRY)
    dg.Definitions.validate_loadable(definitions)
    answers = {f"responses/{benchmark}": "collection" for benchmark in PAPER}
    assert _groups(definitions) == {**answers, **STAGES}
    assert _jobs(definitions) == {"evaluate", "refresh"}
    assert _checks(definitions) == _checks_of(*PAPER)
    graph = definitions.resolve_asset_graph()
    with dg.DagsterInstance.ephemeral() as instance:
        register_models(instance, (model.name for model in load_registry(PAPER_REGISTRY, tmp_path).models))
        for benchmark in PAPER:
            partitions = graph.get(responses_key(benchmark)).partitions_def
            assert isinstance(partitions, dg.DynamicPartitionsDefinition)
            assert partitions.name == MODELS_PARTITION
            assert len(partitions.get_partition_keys(dynamic_partitions_store=instance)) == 112


def test_the_jobs_cover_the_graph_between_them(tmp_path):
    definitions = _definitions(tmp_path, DEMO_REGISTRY)
    covered = {
        job: {key.to_user_string() for key in definitions.resolve_job_def(job).asset_layer.executable_asset_keys}
        for job in ("evaluate", "refresh")
    }
    assert covered == {
        "evaluate": {f"responses/{skill}" for skill in SKILLS},
        "refresh": {"zoo", *STAGES},
    }


@pytest.fixture
def published(tmp_path: Path) -> Path:
    file = tmp_path / "results.csv"
    file.write_text("prompt_id,model_name,category,label,prompt\n0,lab__a,sums,1,What is 1 plus 2?\n", encoding="utf-8")
    return file


def test_a_home_with_nothing_but_imports_has_nothing_to_evaluate(tmp_path, published):
    home = tmp_path / "home"
    workspace = open_workspace(Settings(home=home))
    from warehouse.imports.ingest import import_results

    import_results(workspace.lake, str(published), benchmark_of=workspace.registry.benchmark_of)
    definitions = _definitions(home)
    dg.Definitions.validate_loadable(definitions)
    assert _groups(definitions) == STAGES
    assert _jobs(definitions) == {"refresh"}
    assert _checks(definitions) == CHECKS


ONE_AT_A_TIME = {"embedder", "onboarded", "warehouse"}
LEFT_OUT = {"left_out_embeddings", "benchmark_predictions", "contributions"}
EXPENSIVE_ONES = {"forecast_curve", "robustness", *LEFT_OUT}


def test_every_asset_is_made_by_itself(tmp_path):
    definitions = _definitions(tmp_path, DEMO_REGISTRY)
    jobs = {sensor.name: [job.name for job in sensor.jobs] for sensor in definitions.sensors or () if sensor.has_jobs}
    assert jobs == {"evaluate_what_is_new": ["evaluate"], "refresh_what_changed": ["refresh"]}


def test_the_graph_says_what_is_made_of_what(tmp_path):
    graph = _definitions(tmp_path, DEMO_REGISTRY).resolve_asset_graph()
    parents = {
        key.to_user_string(): {parent.to_user_string().removeprefix("inputs/") for parent in graph.get(key).parent_keys}
        for key in graph.materializable_asset_keys
    }
    collected = {"imported_results", *(f"responses/{skill}" for skill in SKILLS)}
    assert parents == {
        "zoo": {"zoo_recipe"},
        "imported_results": {"imports"},
        **{f"responses/{skill}": {"zoo"} for skill in SKILLS},
        "correctness_matrix": collected | {"answers"},
        "coverage": collected | {"evaluations"},
        "question_embeddings": {"correctness_matrix", "encoder"},
        "embedder": {"correctness_matrix", "question_embeddings", "chosen_version", "seed"},
        "onboarded": {"embedder", "few_answers"},
        **{name: {"correctness_matrix", "embedder", "seed"} for name in EXPERIMENTS | LEFT_OUT},
        **{name: {"correctness_matrix", "embedder", "left_out_embeddings", "seed"} for name in LEFT_OUT & EXPERIMENTS},
        "communities": {"correctness_matrix", "embedder", "onboarded", "seed"},
        "robustness": {"correctness_matrix", "embedder", "encoder", "seed"},
        "warehouse": {name for name, group in STAGES.items() if group in ("matrix", "embedding")} | EXPERIMENTS,
        "report": {"warehouse"},
    }


def test_the_expensive_are_marked_and_what_is_made_one_at_a_time_shares_a_pool(tmp_path):
    graph = _definitions(tmp_path, PAPER_REGISTRY).resolve_asset_graph()
    nodes = {key.to_user_string(): graph.get(key) for key in graph.materializable_asset_keys}
    assert {name for name, node in nodes.items() if EXPENSIVE.items() <= node.tags.items()} == EXPENSIVE_ONES
    assert {name for name, node in nodes.items() if node.pools == {"warehouse"}} == ONE_AT_A_TIME
    assert {name for name, node in nodes.items() if node.pools == {"evaluation"}} == {f"responses/{n}" for n in PAPER}


def test_settings_that_change_content_are_inputs(tmp_path):
    def versions(**settings) -> dict[str, str]:
        workspace = open_workspace(Settings(home=tmp_path, registry=PAPER_REGISTRY, **settings))
        return {name: external.version(workspace) for name, external in EXTERNALS.items()}

    def changed(**settings) -> set[str]:
        now = versions(**settings)
        return {name for name, version in versions().items() if now[name] != version}

    assert changed(encoder="another") == {"encoder"}
    assert changed(seed=1) == {"seed", "zoo_recipe"}
    assert changed(device="cpu", evaluation_workers=2) == set()


def test_the_settings_show_in_the_launchpad_and_can_be_changed_there(tmp_path):
    settings = Settings(home=tmp_path, registry=PAPER_REGISTRY, seed=3)
    definitions = build_definitions(registry_in_force(settings), WorkspaceResource.of(settings))
    shown = definitions.resolve_job_def("refresh").resource_defs["workspace"].config_schema.default_value
    assert shown == {
        "home": str(tmp_path),
        "registry": str(PAPER_REGISTRY),
        "encoder": "static",
        "seed": 3,
        "keep_answers": True,
        "device": None,
        "lake": None,
    }
    seeds = []

    @dg.op
    def look(workspace: dg.ResourceParam[Workspace]) -> None:
        seeds.append(workspace.seed)

    @dg.job(resource_defs={"workspace": WorkspaceResource.of(settings)})
    def look_at_the_seed() -> None:
        look()

    look_at_the_seed.execute_in_process()
    changed = {"home": str(tmp_path), "seed": 5}
    look_at_the_seed.execute_in_process(run_config={"resources": {"workspace": {"config": changed}}})
    assert seeds == [3, 5]


def test_every_asset_says_what_a_row_is_and_who_owns_it(tmp_path):
    graph = _definitions(tmp_path, PAPER_REGISTRY).resolve_asset_graph()
    for key in graph.materializable_asset_keys:
        node = graph.get(key)
        assert node.description, key
        assert node.owners == ["team:embedllm"], key
        assert node.kinds, key
        assert node.code_version, key


def test_what_people_rely_on_has_a_freshness_policy(tmp_path):
    graph = _definitions(tmp_path, PAPER_REGISTRY).resolve_asset_graph()
    policies = {key.to_user_string(): graph.get(key).freshness_policy for key in graph.materializable_asset_keys}
    assert {name for name, policy in policies.items() if policy} == {"embedder", "report"}


def test_loading_them_imports_nothing_heavy(tmp_path):
    script = (
        "import sys, json, pipelines.definitions as d; d.defs().resolve_asset_graph(); "
        f"print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    )
    env = {**os.environ, "EMBEDLLM_HOME": str(tmp_path), "EMBEDLLM_REGISTRY": str(PAPER_REGISTRY)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, cwd=PROJECT, capture_output=True, text=True, check=True, timeout=120
    )
    assert json.loads(done.stdout) == []
