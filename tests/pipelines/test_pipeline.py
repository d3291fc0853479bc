import shutil
from pathlib import Path

import pytest

from pipelines import cap
from pixmo.errors import SetupError
from pixmo.pipeline import load, prompt

SHIPPED = Path(cap.__file__)


def test_the_shipped_pipeline_is_found_by_name() -> None:
    assert Path(load("cap").__file__) == SHIPPED
    assert load("cap") is load("cap")


def test_a_copy_is_loaded_by_path_with_its_own_prompts(tmp_path: Path) -> None:
    copy = tmp_path / "my_cap.py"
    copy.write_text(SHIPPED.read_text().replace("cap-polish-v1", "mine-v1"))
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "mine-v1.txt").write_text("Be brief.\n")
    mine = load("cap", copy)
    assert mine.prompt_for(["one"]) == "mine-v1"
    assert prompt("mine-v1", mine.__file__) == "Be brief."
    assert prompt("cap-merge-v1", mine.__file__) == prompt("cap-merge-v1", str(SHIPPED))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no pipeline file"),
        ("def caption(: pass", "does not load: SyntaxError"),
        ("import nothing_of_this_name", "does not load: ModuleNotFoundError"),
        ("def prompt_for(): pass\ndef caption(): pass", "lacks the function rows"),
        ("prompt_for = caption = rows = 1", "lacks the function prompt_for"),
    ],
)
def test_a_pipeline_that_does_not_work_says_why(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "my_cap.py"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SetupError, match=message):
        load("cap", file)


def test_a_name_that_is_no_pipeline() -> None:
    with pytest.raises(SetupError, match="no pipeline file"):
        load("nothing")


def test_a_missing_prompt_names_the_folder(tmp_path: Path) -> None:
    shutil.copy(SHIPPED, tmp_path / "cap.py")
    with pytest.raises(SetupError, match=r"no prompt other-v1\.txt"):
        prompt("other-v1", str(tmp_path / "cap.py"))
