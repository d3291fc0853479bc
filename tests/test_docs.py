"""The documentation says what the code does."""

import re
from pathlib import Path

import pytest

from docs import reference

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_the_reference_is_the_code_s() -> None:
    """If this fails, run: python -m docs.reference"""
    assert reference.PATH.read_text("utf-8") == reference.text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_documentation_exist(page: Path) -> None:
    known = set(re.findall(r"`(pixmo [a-z]+(?: [a-z-]+)?)`", reference.text()))
    groups = {name.rpartition(" ")[0] for name in known if name.count(" ") == 2}
    for words in re.findall(
        r"^(?:    |\$ |`)+(?:\.venv/bin/)?(pixmo [a-z]+(?: [a-z-]+)?)", page.read_text("utf-8"), re.M
    ):
        one = " ".join(words.split()[:2])
        assert words in known if one in groups else one in known, f"{page.name}: {words}"


def test_the_readme_begins_with_the_two_commands() -> None:
    code = re.findall(r"^    (make \w+)", (ROOT / "README.md").read_text("utf-8"), re.M)
    assert code[:2] == ["make run", "make test"]
