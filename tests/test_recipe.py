import subprocess
import sys

import pytest

from raysearch.errors import ExperimentError, UnknownNameError
from raysearch.experiment.yaml_text import parse
from raysearch.training.recipe import Recipe, check_names, sizes

PARAMETERS = {"optimizer": "AdamW", "lr": 0.001, "batch_size": 32}


def test_a_recipe_reads_its_own_parameters_and_leaves_the_rest():
    recipe = Recipe.of(PARAMETERS | {"weight_decay": 0.1, "conv1": 32})
    assert (recipe.optimizer, recipe.lr, recipe.batch_size, recipe.weight_decay) == ("AdamW", 0.001, 32, 0.1)
    assert recipe.loss is None


@pytest.mark.parametrize("name", PARAMETERS)
def test_what_training_needs_must_be_there(name):
    with pytest.raises(ExperimentError, match=f"'{name}' is missing"):
        Recipe.of({key: value for key, value in PARAMETERS.items() if key != name})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"optimizer": "NAdm"}, "Did you mean 'NAdam'"),
        ({"lr": "1e-3"}, "lr must be a number, got '1e-3': that is text, write it without quotes"),
        ({"lr": "fast"}, "lr must be a number, got 'fast'"),
        ({"batch_size": "32"}, "batch_size must be a whole number, got '32': that is text, write it without quotes"),
        ({"lr": -1.0}, "lr must be above 0, got -1.0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"batch_size": True}, "batch_size must be a whole number, got True"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0, got -0.1"),
        ({"momentum": 0.9}, "AdamW has none, only RMSprop and SGD"),
        ({"schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"loss": "rmse", "loss_alpha": 1.0}, "unknown parameter of rmse (in losses) 'alpha'"),
        ({"loss_alpha": 1.0}, "loss_alpha without a 'loss'"),
    ],
)
def test_bad_values_are_refused(change, text):
    with pytest.raises(ExperimentError) as caught:
        Recipe.of(PARAMETERS | change)
    assert text in str(caught.value)


@pytest.mark.parametrize("text", ["1e-3", "1.0e-3", "0.001", "1E-3"])
def test_every_way_to_write_a_number_in_a_file_is_one(text):
    assert Recipe.of(PARAMETERS | parse(f"lr: {text}", "file")).lr == 0.001


def test_names_are_the_workloads_the_recipes_or_the_losss():
    check_names(["conv1", "lr", "loss", "loss_alpha"], ["conv1"], "calorimeter")
    with pytest.raises(
        UnknownNameError, match=r"unknown parameter of calorimeter 'batchsize'\. Did you mean 'batch_size'"
    ):
        check_names(["batchsize"], ["conv1"], "calorimeter")


def test_sizes_are_whole_numbers_alone_or_in_a_list():
    assert sizes("fc", 9) == (9,)
    assert sizes("fc", [64, 9]) == (64, 9)
    for wrong in ("9", [1.5], [True], {"a": 1}):
        with pytest.raises(ExperimentError, match=r"fc = .* is not a list of whole numbers"):
            sizes("fc", wrong)


@pytest.mark.process
def test_reading_a_recipe_needs_no_torch():
    code = f"import sys; from raysearch.training.recipe import Recipe; Recipe.of({PARAMETERS})"
    code += "; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
