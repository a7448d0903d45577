"""Export of a run as a file that predicts without torch or vlprompt."""
