from collections.abc import Iterator
from contextlib import contextmanager

from okdbench.runs.interleave import Turns, drain, in_context, round_robin


def counting(name: str, turns: int, said: list[str]) -> Turns[str]:
    for number in range(turns):
        said.append(f"{name}{number}")
        yield
    return name.upper()


def test_turns_alternate_until_the_last_has_ended() -> None:
    said: list[str] = []
    assert round_robin([counting("a", 1, said), counting("b", 3, said), counting("c", 0, said)]) == ["A", "B", "C"]
    assert said == ["a0", "b0", "b1", "b2"]


def test_a_context_is_in_force_in_the_turns_of_its_work_alone() -> None:
    said: list[str] = []

    @contextmanager
    def context() -> Iterator[None]:
        said.append("(")
        yield
        said.append(")")

    assert round_robin([in_context(counting("a", 2, said), context), counting("b", 2, said)]) == ["A", "B"]
    assert "".join(said) == "(a0)b0(a1)b1()"


def test_one_work_is_drained_for_its_result() -> None:
    assert drain(counting("a", 3, [])) == "A"
