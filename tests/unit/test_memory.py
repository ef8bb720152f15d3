from pathlib import Path

from serval.worker.memory import rss_bytes

MIB = 1024 * 1024


def test_a_python_process_holds_some_mebibytes() -> None:
    assert 5 * MIB < rss_bytes() < 4096 * MIB


def test_memory_that_is_filled_shows() -> None:
    before = rss_bytes()

    held = b"x" * (64 * MIB)

    assert rss_bytes() - before > 48 * MIB
    assert len(held) == 64 * MIB


def test_without_procfs_the_peak_stands_in() -> None:
    assert rss_bytes("/nonexistent/statm") > 5 * MIB


def test_a_statm_of_another_form_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "statm").write_text("?")

    assert rss_bytes(str(tmp_path / "statm")) > 5 * MIB
