"""The section ``figure`` of a table's recipe."""

from collections.abc import Callable
from pathlib import Path

import pytest

from okdbench.errors import UsageError
from okdbench.recipe import Recipe, load

Write = Callable[..., Path]


def test_a_figure_is_over_the_epochs_unless_it_says_otherwise(write: Write) -> None:
    recipe = load(write("figure: {lines: method, panels: [dataset, network], reference: dml}"))
    assert isinstance(recipe, Recipe) and recipe.figure
    assert (recipe.figure.x, recipe.figure.panels) == ("epoch", ("dataset", "network"))


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ("{x: networks}", 'figure.x: the grid has no axis "networks"; did you mean "network"?'),
        ("{x: network, lines: method}", "grid.dataset has several values and no place; make it x, lines or panels"),
        ("{x: method, lines: method, panels: [dataset, network]}", "x, lines and panels must be different axes"),
        ("{lines: method, panels: [dataset, network], reference: kd}", 'grid.method has no "kd"; choose from'),
        ("{x: method, lines: network, panels: dataset, reference: resnet8}", "add lines and x: epoch, or remove it"),
        ("{line: method}", 'figure.line: unknown key; did you mean "lines"?'),
    ],
)
def test_mistakes(figure: str, message: str, write: Write) -> None:
    with pytest.raises(UsageError) as error:
        load(write(f"figure: {figure}"))
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1
