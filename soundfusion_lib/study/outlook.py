"""What `soundfusion reproduce` is about to train, and about how long that takes, said before it starts."""

import math
from collections.abc import Collection

from soundfusion_lib.device import choose_device
from soundfusion_lib.pool import cores
from soundfusion_lib.study.needs import needed_by
from soundfusion_lib.study.plan import plan_of
from soundfusion_lib.study.status import Look, NothingYet
from soundfusion_lib.study.study import Study


def outlook(profile: str, notebooks: Collection[str] = (), device: str = "auto") -> str:
    """A sentence on what is left to train for these notebooks (all if none are named) on a profile.

    Where some experiment was never run, a few steps of it are timed, on a CPU (a GPU is not planned for) and not on
    synthetic music, whose study takes minutes. Clips of a corpus that are not decoded yet are decoded first.

    Raises:
        SoundFusionError: the corpus or the device is not there.
    """
    study, on_cpu = Look(profile), choose_device(device).type == "cpu"
    small = study.profile.corpus["kind"].startswith("demo")
    try:
        study.store  # noqa: B018
    except NothingYet:
        if small:
            return f"{study.profile.name}: its synthetic music is decoded first; then all its networks are trained"
        Study("prepare", profile, "cpu").store  # noqa: B018
        study = Look(profile)
    needed = {name: list(own) for name, own in needed_by(study).items() if not notebooks or name in notebooks}
    if not needed:
        return f"{study.profile.name}: these notebooks train nothing"
    counts = plan_of(study, needed, measure=False).loc["all"]
    left = int(counts["runs"] - counts["done"])
    if not left:
        return f"{study.profile.name}: all {int(counts['runs'])} runs of its notebooks are trained"
    hours = counts["core_hours_left"] if on_cpu else math.nan
    if math.isnan(hours) and on_cpu and not small:
        hours = plan_of(study, needed).loc["all", "core_hours_left"]
    available = cores()
    about = "" if math.isnan(hours) else f"; about {hours / available:.1f} hours on this machine's {available} cores"
    return (
        f"{study.profile.name}: {left} of {int(counts['runs'])} trainings are left, every experiment of the report "
        f"that its notebooks show, at the profile's widths{about} (`soundfusion train` trains one network alone)"
    )
