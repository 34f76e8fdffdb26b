"""What the notebooks' kernel runs when it starts (see kernel.py): a name that is not set says which cells to run."""

from IPython import get_ipython


def _advise(shell, kind, error, traceback, tb_offset=None):
    error.add_note("Is it set in a cell above? Run those first: menu Run, Run All Above Selected Cell.")
    shell.showtraceback((kind, error, traceback), tb_offset=tb_offset)


if shell := get_ipython():  # the variable that names this file is Python's, too
    shell.set_custom_exc((NameError,), _advise)
    del shell
