"""What a search of hyper-parameters tried and found, and which of several fusions is the best of its size and time."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from soundfusion_lib.study.search import EPOCHS

if TYPE_CHECKING:
    import optuna

STATES = {"COMPLETE": "to the end", "PRUNED": "stopped", "FAIL": "diverged"}


def trials(found: "optuna.Study") -> pd.DataFrame:
    """The trials of `study.search.search`, in their order.

    Returns:
        One row per trial: trial; how ("to the end", "stopped" or "diverged"); a column for each setting; epochs;
        validation_loss and validation_accuracy (per segment, 0..1) of the last one; core_minutes. NaN of what diverged.
    """
    rows = []
    for trial in found.trials:
        epochs = pd.DataFrame(trial.user_attrs.get(EPOCHS, {}))
        last = epochs.iloc[-1] if len(epochs) else {}
        row = {"trial": trial.number, "how": STATES[trial.state.name], **trial.params, "epochs": len(epochs)}
        row |= {name: last.get(name, np.nan) for name in ("validation_loss", "validation_accuracy")}
        rows.append(row | {"core_minutes": epochs["core_seconds"].sum() / 60 if len(epochs) else np.nan})
    return pd.DataFrame(rows)


def importances(found: "optuna.Study") -> pd.DataFrame:
    """Which settings the validation loss depends on, by the trials that came to their end: setting and importance,
    which sum to 1, the largest first; no row with fewer than two such trials.

    Functional ANOVA on a random forest (Hutter, Hoos and Leyton-Brown, ICML 2014).
    """
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    if sum(trial.state.name == "COMPLETE" for trial in found.trials) < 2:
        return pd.DataFrame(columns=["setting", "importance"])
    shares = get_param_importances(found, evaluator=FanovaImportanceEvaluator(seed=0))
    return pd.DataFrame(shares.items(), columns=["setting", "importance"])


def best_of_their_size(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `tables.performance` with two columns more: best_of_size, whether no row with at most as many
    parameters is more accurate by vote; best_of_time, the same of core_minutes. "-" where the cost is not known."""
    accuracy = table["track_accuracy"].to_numpy()

    def best(cost: str) -> list[str]:
        values = table[cost].to_numpy(float)
        leads = [own >= accuracy[values <= value].max(initial=0) for own, value in zip(accuracy, values, strict=True)]
        return np.where(np.isnan(values), "-", np.where(leads, "yes", "no")).tolist()

    return table.assign(best_of_size=best("parameters"), best_of_time=best("core_minutes"))
