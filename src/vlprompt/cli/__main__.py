"""Run the command line as `python -m vlprompt.cli`."""

from vlprompt.cli.main import main

main()
