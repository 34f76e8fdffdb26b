"""The notebooks' kernel: `python tooling/kernel.py` installs it into this environment, as `make` does."""

import sys
from pathlib import Path

from ipykernel.kernelspec import install

from soundfusion_lib.pool import environment

STARTUP = Path(__file__).with_name("startup.py")

if __name__ == "__main__":
    variables = {**environment(), "PYTHONSTARTUP": str(STARTUP)}
    install(kernel_name="python3", display_name="Python 3 (SoundFusion)", prefix=sys.prefix, env=variables)
