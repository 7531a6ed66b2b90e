"""What is not known is refused in one line, with what there is."""

from __future__ import annotations

import pytest
import typer

from benchmarks.generate_traces import GENERATORS, main


@pytest.mark.parametrize("name", ["nope", "alibaba-genai-2026"])
def test_an_unknown_format_is_wrong_usage(name: str, tmp_path, capsys) -> None:
    with pytest.raises(typer.Exit) as ended:
        main(name, tmp_path / "x")
    said = capsys.readouterr().err
    assert ended.value.exit_code == 2 and said.count("\n") == 1 and all(known in said for known in GENERATORS)
    assert not (tmp_path / "x").exists()


def test_an_unknown_form_is_wrong_usage(tmp_path, capsys) -> None:
    with pytest.raises(typer.Exit):
        main("borg-2019", tmp_path / "x", form="xml")
    assert "no --form 'xml'; there are: json, csv, parquet" in capsys.readouterr().err
