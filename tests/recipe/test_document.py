from pathlib import Path

import pytest

from okdbench.errors import UsageError
from okdbench.recipe import load, parse_value
from okdbench.recipe.document import RecipeFile


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("5E3", 5000.0),
        ("-.5", -0.5),
        ("3.", 3.0),
        ("0.1", 0.1),
        ("12", 12),
        ("-3", -3),
        ("true", True),
        ("null", None),
        (".inf", float("inf")),
        ("off", "off"),
        ("no", "no"),
        ("none", "none"),
        ("1:30", "1:30"),
        ("2023-12-18", "2023-12-18"),
        ("e5", "e5"),
        ("released", "released"),
        ("[1, 2e-1]", [1, 0.2]),
        ("{name: cosine}", {"name": "cosine"}),
    ],
)
def test_scalars_are_read_as_a_person_means_them(text: str, value: object) -> None:
    found = parse_value(text)
    assert found == value
    assert type(found) is type(value)


def test_a_value_that_is_not_yaml_is_refused() -> None:
    with pytest.raises(UsageError, match="not valid YAML"):
        parse_value("[1, 2")


def test_duplicate_keys_are_refused_with_both_lines(write) -> None:
    path = write(training="training:\n  epochs: 4\n  optimizer: {lr: 0.1}\n  epochs: 5\n  schedule: {name: cosine}")
    with pytest.raises(UsageError) as error:
        load(path)
    first = path.read_text().splitlines().index("  epochs: 4") + 1
    assert str(error.value) == f'{path}:{first + 2}: key "epochs" appears twice (first in line {first}); keep one'


def test_a_merged_mapping_may_be_overridden(tmp_path: Path) -> None:
    path = tmp_path / "merge.yaml"
    path.write_text("base: &base {a: 1, b: 2}\nother:\n  <<: *base\n  b: 3\n")
    document = RecipeFile(path)
    assert document.data["other"] == {"a": 1, "b": 3}
    assert document.duplicates == []


def test_python_tags_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text('title: !!python/object/apply:os.system ["true"]\n')
    with pytest.raises(UsageError, match=r"evil.yaml:1:8: not valid YAML: found a tag, .*python/object"):
        load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"title: [a\nkind: b", ":2:5: not valid YAML"),
        (b"", "must be a mapping with the keys title"),
        (b"- a", "must be a mapping with the keys title"),
        (b"title: \xff\xfe", "is not text in UTF-8"),
    ],
)
def test_files_that_are_no_recipes(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        load(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
