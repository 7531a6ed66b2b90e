"""`python -m opsbrain` is the command line."""

import sys

from opsbrain.cli import main

sys.exit(main())
