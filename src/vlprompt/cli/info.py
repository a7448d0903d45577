"""The command `vlprompt info`."""

from typing import Annotated

from vlprompt.cli.options import Json, Run, chosen_format, output_format


def info(run: Run, form: Annotated[str, output_format("table", "json")] = "table", as_json: Json = False) -> None:
    """Show the settings, status, history and metrics of a run.

    Examples:
        vlprompt info runs/mine
        vlprompt info runs/mine --json
    """
    form = chosen_format(form, as_json)
    from vlprompt.results.summary import print_record
    from vlprompt.runs.record import read_record

    record = read_record(run)
    if form == "json":
        print(record.model_dump_json())
    else:
        print_record(record, run)
