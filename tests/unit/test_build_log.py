from frontend.build import LINES_SHOWN, last_words


def test_the_end_of_a_failed_build_says_why_and_leaves_out_npms_chatter() -> None:
    log = ["Compiling", *["npm warn old"] * LINES_SHOWN, "npm error code ECONNREFUSED"]
    log += ["npm silly unfinished npm timer reify", "npm verbose exit 1"] * 40
    shown = last_words("\n".join(log)).splitlines()
    assert shown[-1] == "npm error code ECONNREFUSED"
    assert len(shown) == LINES_SHOWN
    assert "Compiling" not in shown
