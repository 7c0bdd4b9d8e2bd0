import numpy as np
import pytest

from okdbench.errors import UsageError
from okdbench.results.protocol import Accuracy, chosen, describe_protocol, evaluate
from okdbench.runs.heads import Head


def accuracy(**heads: list[float]) -> Accuracy:
    return Accuracy(tuple(heads), np.array(list(heads.values())).T)


TABLE = accuracy(student=[10.0, 50.0, 40.0, 42.0], teacher0=[20.0, 30.0, 60.0, 40.0], teacher1=[22.0, 34.0, 20.0, 50.0])


@pytest.mark.parametrize(
    ("head", "epoch", "value"),
    [
        ("student", "last", 42.0),
        ("student", "best", 50.0),
        ("student", "last-2", 41.0),
        ("student", "last-9", 35.5),
        ("mean(teacher?)", "last", 45.0),
        ("mean(teacher?)", "best", 45.0),  # of 21, 32, 40, 45: the mean is taken within each epoch
        ("max(teacher?)", "last", 50.0),
        ("max(teacher?)", "best", 60.0),
        ("max(teacher?)", "last-3", 48.0),  # of 34, 60, 50
        ("max(*)", "last-4", 45.5),  # of 22, 50, 60, 50
        ("mean(teacher[1-9])", "last", 50.0),
    ],
)
def test_head_and_epoch(head: str, epoch: str, value: float) -> None:
    assert evaluate(TABLE, Head(head), epoch) == pytest.approx(value)


@pytest.mark.parametrize("head", ["teachr0", "teacher", "max(peer?)", "max(TEACHER?)"])
def test_an_unknown_head_is_refused_with_a_suggestion(head: str) -> None:
    with pytest.raises(UsageError, match=r"no head .*(did you mean|choose from)"):
        evaluate(TABLE, Head(head), "last")


def test_selection_on_validation_images_reports_the_test_accuracy_of_what_it_chose() -> None:
    validation = accuracy(student=[1.0, 2.0, 3.0, 0.0], teacher0=[9.0, 1.0, 1.0, 0.0], teacher1=[0.0] * 4)
    assert evaluate(TABLE, Head("student"), "best", validation) == 40.0  # epoch 2, although epoch 1 tests better
    assert evaluate(TABLE, Head("max(teacher?)"), "best", validation) == 20.0  # teacher0 at epoch 0
    assert evaluate(TABLE, Head("max(teacher?)"), "last-3", validation) == pytest.approx((30 + 60 + 40) / 3)
    assert evaluate(TABLE, Head("student"), "last", validation) == 42.0
    assert evaluate(TABLE, Head("student"), "best-on-test", validation) == evaluate(TABLE, Head("student"), "best")
    assert evaluate(TABLE, Head("max(teacher?)"), "best-on-test", validation) == 60.0


def test_a_rounding_error_of_a_mean_chooses_no_epoch() -> None:
    tested = accuracy(peer0=[60.0, 70.0], peer1=[60.0, 70.0])
    for equal in ([50.01, 50.00], [50.03, 50.02]):
        tie = accuracy(peer0=equal, peer1=[equal[0], equal[1] + 0.02])
        assert tie.values.mean(axis=1)[0] == pytest.approx(tie.values.mean(axis=1)[1])
        assert evaluate(tested, Head("mean(peer?)"), "best", tie) == 60.0, "the first of equal ones"


def test_which_heads_the_best_one_can_never_be_below() -> None:
    best = Head("max(peer?)")
    assert all(best.covers(Head(other)) for other in ("max(peer?)", "mean(peer?)", "peer0"))
    assert not any(best.covers(Head(other)) for other in ("mean(peer*)", "student", "peer0@ema", "max(peer*)"))
    assert Head("student").covers(Head("student")) and not Head("mean(peer?)").covers(Head("peer0"))


def test_what_is_chosen_by_accuracy() -> None:
    assert chosen(Head("student"), "last") == ""
    assert chosen(Head("mean(peer*)"), "last-10") == ""
    assert chosen(Head("student"), "best") == "epoch"
    assert chosen(Head("max(peer*)"), "last") == "head"
    assert chosen(Head("max(peer*)"), "best") == "head and epoch"
    assert chosen(Head("max(peer*)"), "best-on-test") == "head and epoch"


def test_in_words() -> None:
    assert describe_protocol(Head("max(teacher?)"), "best") == "best teacher, best epoch"
    assert describe_protocol(Head("mean(peer*)"), "last-10") == "mean over all peers, mean of the last 10 epochs"
    assert describe_protocol(Head("student"), "best-on-test") == "student, epoch best on the test images"
    assert describe_protocol(Head("deployed"), "last") == "the deployed head, last epoch"
    assert describe_protocol(Head("deployed@ema"), "last") == "the deployed head of the moving average, last epoch"
    assert describe_protocol(Head("max(peer0*)"), "last") == "best of all heads that begin with peer0, last epoch"
    assert describe_protocol(Head("max(peer?@ema)"), "best") == "best peer of the moving average, best epoch"


def test_whether_a_moving_average_is_read() -> None:
    assert [Head(head).averaged for head in ("deployed", "peer0@ema", "mean(peer?@ema)")] == [False, True, True]
