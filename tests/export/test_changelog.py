import pytest

from pixmo.export.changelog import Changes, changelog, section

FIRST = section("1.0.0", None, Changes(added={"train": 9_800, "test": 200}, images_added=5_000))


def test_a_first_version_lists_what_it_holds() -> None:
    assert FIRST == (
        "## 1.0.0\n\n- First version.\n- 10,000 rows added: train 9,800, test 200.\n- 5,000 images added.\n"
    )


def test_every_change_has_its_sentence_in_a_fixed_order() -> None:
    changes = Changes(
        added={"test": 1, "validation": 0, "train": 1_200},
        removed={"train": 1},
        corrected={"validation": 2, "train": 3},
        columns={"label": 1, "caption": 4, "transcripts": 1, "count": 0},
        left_out={"taken_down": 2, "no_licence": 30},
        images_added=700,
        images_removed=1,
        schema=("column `topic` added", "unit of `points` is percent"),
        previous="1.0.3",
    )
    assert section("2.0.0", "ab" * 32, changes, ["Norwegian captions.\n", "A second\ncampaign."]) == (
        "## 2.0.0\n"
        "\n"
        "- Norwegian captions.\n"
        "- A second campaign.\n"
        f"- Follows 1.0.3 (manifest `{'ab' * 32}`).\n"
        "- Schema: column `topic` added.\n"
        "- Schema: unit of `points` is percent.\n"
        "- 1,201 rows added: train 1,200, test 1.\n"
        "- 1 row removed: train 1.\n"
        "- 5 rows corrected: train 3, validation 2.\n"
        "- Corrected, by column: `caption` 4, `label` 1, `transcripts` 1.\n"
        "- 700 images added, 1 image removed.\n"
        "- Left out of this version, by reason: `no_licence` 30, `taken_down` 2.\n"
    )


def test_the_order_of_the_input_does_not_matter() -> None:
    forwards = Changes(added={"train": 1, "test": 2}, columns={"a": 1, "b": 1}, previous="1.0.0")
    backwards = Changes(added={"test": 2, "train": 1}, columns={"b": 1, "a": 1}, previous="1.0.0")
    assert section("1.1.0", None, forwards) == section("1.1.0", None, backwards)


def test_no_difference_is_said() -> None:
    assert section("1.0.1", None, Changes(added={"train": 0}, previous="1.0.0")) == (
        "## 1.0.1\n\n- Follows 1.0.0.\n- No row differs.\n"
    )


def test_a_first_version_without_numbers_says_no_more() -> None:
    assert section("1.0.0", None, Changes()) == "## 1.0.0\n\n- First version.\n"


def test_the_newest_section_stands_first_and_the_others_stay_as_they_were() -> None:
    one = changelog(None, FIRST)
    assert one == f"# Changelog\n\n{FIRST}"
    second = section("1.1.0", "cd" * 32, Changes(added={"train": 1}, previous="1.0.0"))
    third = section("1.1.1", "ef" * 32, Changes(corrected={"train": 1}, columns={"caption": 1}, previous="1.1.0"))
    two = changelog(one, second)
    assert changelog(two, third) == f"# Changelog\n\n{third}\n{second}\n{FIRST}"
    assert two.endswith(FIRST)


def test_a_version_has_one_section() -> None:
    with pytest.raises(ValueError, match=r"has a section 1\.0\.0 already"):
        changelog(changelog(None, FIRST), FIRST)
    near = section("11.0.0", None, Changes(previous="1.0.0"))
    assert changelog(changelog(None, FIRST), near).count("## ") == 2


def test_another_file_is_refused() -> None:
    with pytest.raises(ValueError, match="does not begin with"):
        changelog("# Release notes\n", FIRST)
