"""`python -m vlprompt.cli`."""

from vlprompt.cli import main

main()
