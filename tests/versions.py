"""Install the package with other versions of Python and with the oldest allowed libraries, and run the data commands.

Run: python -m tests.versions [PYTHON...]   (make versions)

Each gets an environment of its own in a temporary folder. The interpreters are those named, or those of this machine
from 3.11 on; the oldest libraries are those of pyproject.toml, on the interpreter that runs this.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMMANDS = """
python -c "from segdata.synthetic import write_vistas; write_vistas('vistas', 3, (64, 128), seed=1)"
segdata convert-mapillary vistas city
segdata precompute-cpp city targets
segdata verify targets
segdata index city --split train --tile 32 -o train.index.npz
segdata sample --source train=train.index.npz:1:1 --crop-size 32 32
segdata report city -o city.html
segdata doctor
"""


def oldest() -> list[str]:
    """Return the libraries of pyproject.toml, each in the oldest version that is allowed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [re.sub(r">=(.*)", _exactly, each) for each in project["dependencies"]]


def _exactly(found: "re.Match[str]") -> str:
    """Return a bound as a pin of a whole release: 10.3 is 10.3.*."""
    return f"=={found[1]}.*" if found[1].count(".") < 2 else f"=={found[1]}"


def interpreters() -> list[str]:
    """Return the interpreters of this machine, but the one that runs this."""
    here = sys.version_info.minor
    names = [f"python3.{minor}" for minor in range(11, 20) if minor != here]
    found = [path for name in names if (path := shutil.which(name))]
    return [path for path in found if subprocess.run([path, "-V"], capture_output=True, check=False).returncode == 0]


def check(interpreter: str, libraries: list[str]) -> str:
    """Return one line on how the commands ran."""
    with tempfile.TemporaryDirectory() as folder:
        binaries = Path(folder) / "environment" / "bin"
        subprocess.run([interpreter, "-m", "venv", binaries.parent], check=True)
        install = [binaries / "python", "-m", "pip", "install", "--quiet", *libraries, ROOT]
        for command in (install, *COMMANDS.strip().splitlines()):
            inside = {"shell": True, "env": {"PATH": f"{binaries}:/usr/bin:/bin", "HOME": folder}}
            how = {} if command is install else inside
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **how)
            if done.returncode:
                return f"FAIL {command}\n{done.stdout}{done.stderr}"
        version = subprocess.run([binaries / "python", "-V"], capture_output=True, text=True, check=True).stdout.strip()
    return f"PASS {version}{' with the oldest libraries: ' + ', '.join(libraries) if libraries else ''}"


def main(named: list[str]) -> int:
    """Check all, and return the exit status."""
    cases = [(each, []) for each in named or interpreters()] + [(sys.executable, oldest())]
    results = []
    for case in cases:
        results.append(check(*case))
        print(results[-1], flush=True)
    return int(any(result.startswith("FAIL") for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
