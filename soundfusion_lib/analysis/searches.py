"""What a search of hyper-parameters tried, and which of several fusions is the best of its size and time."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from soundfusion_lib.study.search import EPOCHS, ended

if TYPE_CHECKING:
    import optuna

STATES = {"COMPLETE": "to the end", "PRUNED": "stopped", "FAIL": "diverged"}


def trials(found: "optuna.Study") -> pd.DataFrame:
    """The trials of `study.search.search` in their order.

    Returns:
        One row per trial: trial; how ("to the end", "stopped" or "diverged"); a column for each setting; epochs; the
        last epoch's validation_loss and validation_accuracy (per segment, 0..1), NaN without one; core_minutes.
    """
    rows = []
    for number, trial in enumerate(ended(found)):
        epochs = pd.DataFrame(trial.user_attrs.get(EPOCHS, {}))
        last = epochs.iloc[-1] if len(epochs) else {}
        row = {"trial": number, "how": STATES[trial.state.name], **trial.params, "epochs": len(epochs)}
        row |= {name: last.get(name, np.nan) for name in ("validation_loss", "validation_accuracy")}
        rows.append(row | {"core_minutes": epochs["core_seconds"].sum() / 60 if len(epochs) else np.nan})
    return pd.DataFrame(rows)


def importances(found: "optuna.Study") -> pd.DataFrame:
    """Which settings the validation loss depends on, estimated from the complete trials.

    Functional ANOVA on a random forest (Hutter, Hoos and Leyton-Brown, ICML 2014).

    Returns:
        One row per setting, largest importance first: setting and importance, which sum to 1. Empty with fewer than two
        complete trials.
    """
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    if sum(trial.state.name == "COMPLETE" for trial in found.trials) < 2:
        return pd.DataFrame(columns=["setting", "importance"])
    shares = get_param_importances(found, evaluator=FanovaImportanceEvaluator(seed=0))
    return pd.DataFrame(shares.items(), columns=["setting", "importance"])


def best_of_their_size(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `tables.performance` with two columns more: best_of_size, "yes" where no row with at most as many
    parameters has a higher accuracy by vote; best_of_time, the same for core_minutes. "-" where the cost is unknown."""
    accuracy = table["track_accuracy"].to_numpy()

    def best(cost: str) -> list[str]:
        costs = table[cost].to_numpy(float)
        highest = [accuracy[costs <= cost].max(initial=0) for cost in costs]
        return np.where(np.isnan(costs), "-", np.where(accuracy >= highest, "yes", "no")).tolist()

    return table.assign(best_of_size=best("parameters"), best_of_time=best("core_minutes"))
