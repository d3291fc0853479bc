"""`python -m pixmo`."""

from pixmo.cli import main

main()
