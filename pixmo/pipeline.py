"""Pipelines: one short file per data set that says how it is made, meant to be copied and edited.

A pipeline is loaded by path, not imported: from the package first, then from beside it, or from a file of your own.
Its prompts are versioned text files in the folder `prompts` next to it.
"""

import importlib.util
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from pixmo.errors import SetupError

if TYPE_CHECKING:
    import pyarrow as pa

    from pixmo.captions.schemas import Draft
    from pixmo.language.schemas import TextModel


class CapPipeline(Protocol):
    """What a pipeline of described images defines, as functions of its module."""

    __file__: str

    def prompt_for(self, transcripts: Sequence[str]) -> str:
        """The name of the prompt with which a language model would write the caption."""

    def caption(self, transcripts: Sequence[str], language: str, llm: "TextModel | None") -> "Draft":
        """The caption of one image from what was said about it."""

    def rows(self, page: "pa.Table") -> "pa.Table":
        """What is published of a page of described images."""


def load(name: str, file: Path | None = None) -> CapPipeline:
    """The pipeline called `name`, or the one in `file`. Raises `SetupError` if there is none that works."""
    return _load(name, (file or _shipped() / f"{name}.py").resolve())


@cache
def _load(name: str, path: Path) -> CapPipeline:
    if not path.is_file():
        raise SetupError(f"There is no pipeline file {path}.")
    module_name = f"pixmo_pipeline_{name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise SetupError(f"{path} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SetupError(f"The pipeline {path} does not load: {type(error).__name__}: {error}") from error
    lacking = [function for function in ("prompt_for", "caption", "rows") if not callable(getattr(module, function, 0))]
    if lacking:
        raise SetupError(f"The pipeline {path} lacks the function {lacking[0]}.")
    return cast("CapPipeline", module)


def prompt(name: str, pipeline_file: str) -> str:
    """The text of a versioned prompt: from `prompts` beside the pipeline, else of those that come with pixmo."""
    for folder in (Path(pipeline_file).parent, _shipped()):
        file = folder / "prompts" / f"{name}.txt"
        if file.is_file():
            return file.read_text("utf-8").strip()
    raise SetupError(f"There is no prompt {name}.txt in {Path(pipeline_file).parent / 'prompts'}.")


def _shipped() -> Path:
    """The folder of the pipelines that come with pixmo: inside an installed package, beside it in a checkout."""
    here = Path(__file__).parent
    for folder in (here / "pipelines", here.parent / "pipelines"):
        if (folder / "prompts").is_dir():
            return folder
    raise SetupError("pixmo was installed without its pipelines; install it again.")
